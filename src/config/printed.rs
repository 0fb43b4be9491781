//! The configuration in force, as `kms config` prints it.

use std::fmt::Write;

use super::schema::{Config, SECTIONS};

impl Config {
    /// The configuration in force as TOML, each key with its doc as a comment: what `kms config` prints.
    /// It is a valid file again, but for the password of `turn_url`, which is replaced by `***`.
    pub(crate) fn to_documented_toml(&self) -> String {
        let mut text =
            String::from("# Configuration of kms. Every key may be left out; it then has its default.\n");
        for section in SECTIONS {
            text.push('\n');
            comment(&mut text, section.doc);
            let _ = writeln!(text, "[{}]", section.name);
            for key in section.keys {
                text.push('\n');
                comment(&mut text, key.doc);
                let _ = writeln!(
                    text,
                    "#\n# Value: {}. Default: {}",
                    (key.expected)(),
                    (key.get)(&Config::default())
                );
                let _ = writeln!(text, "# Variable: {}", key.variables(section).join(", "));
                let _ = writeln!(text, "{} = {}", key.name, (key.get)(self));
            }
        }
        text
    }
}

/// Appends each line of a doc as a TOML comment.
fn comment(text: &mut String, doc: &str) {
    for line in doc.lines() {
        let _ = writeln!(text, "{}", format!("# {}", line.trim()).trim_end());
    }
}
