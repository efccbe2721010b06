//! Labs as they are written down.

use temblor_lab::{Lab, Range};

/// A lab is a lab or is told why it is none; a range of addresses is written as it is read.
pub(crate) fn spec(bytes: &[u8]) {
    let file = crate::text(bytes);
    if let Err(error) = Lab::parse("lab.yaml", &file) {
        assert!(!error.to_string().is_empty());
        // YAML has more ends of lines than one.
        assert!(error.line <= file.len() as u64 + 1, "{error}");
    }
    if let Ok(range) = file.parse::<Range>() {
        assert_eq!(range.to_string().parse::<Range>().unwrap(), range);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let lab = std::fs::read(crate::repository("crates/lab/labs/exchange.yaml")).unwrap();
    vec![lab, b"10.231.0.0/24".to_vec()]
}
