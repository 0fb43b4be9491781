//! The committed typed API is what the generator prints today.

#[test]
fn generated_rs_is_current() {
    let api = serde_json::from_str(include_str!("api.json")).unwrap();
    let fresh = kms_client::generate::generate(&api).unwrap();
    assert!(
        fresh == include_str!("../src/generated.rs"),
        "src/generated.rs is stale: KMS_BLESS=1 cargo test --test api, in the top folder, writes it anew"
    );
}

#[test]
fn a_description_with_a_hole_is_refused() {
    let api = serde_json::json!({"modules": [{"classes": [
        {"name": "A", "constructor": [{"name": "b", "type": "Missing"}]}
    ]}]});
    let error = kms_client::generate::generate(&api).unwrap_err();
    assert_eq!(error.to_string(), "'Missing' is used but not described");
}
