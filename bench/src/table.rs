//! Tables for people.

/// Lays out rows under a header: the first column to the left, numbers to the right.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let lines = || std::iter::once(&header).chain(rows);
    let widths: [usize; N] =
        std::array::from_fn(|i| lines().map(|l| l[i].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for line in lines() {
        for (i, (cell, width)) in line.iter().zip(widths).enumerate() {
            text += &match i {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["ping".to_owned(), "0.04".to_owned()],
            ["a".to_owned(), "10".to_owned()],
        ];
        assert_eq!(table(["", "p50"], &rows), "       p50\nping  0.04\na       10\n");
    }
}
