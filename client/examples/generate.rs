//! Reads a description of the API (what `kms describe --json` prints) and prints the typed client for it.

use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut json = String::new();
    std::io::stdin().read_to_string(&mut json)?;
    print!(
        "{}",
        kms_client::generate::generate(&serde_json::from_str(&json)?)?
    );
    Ok(())
}
