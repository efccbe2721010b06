//! Paths to the leaves of a JSON document, to change one at a time.

use serde_json::Value;

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Everything that is neither an object nor an array, with its path.
pub(crate) fn leaves(value: &Value) -> Vec<(Vec<Step>, Value)> {
    fn walk(value: &Value, path: &mut Vec<Step>, out: &mut Vec<(Vec<Step>, Value)>) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    path.push(Step::Key(key.clone()));
                    walk(field, path, out);
                    path.pop();
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    path.push(Step::Index(i));
                    walk(item, path, out);
                    path.pop();
                }
            }
            leaf => out.push((path.clone(), leaf.clone())),
        }
    }
    let mut out = Vec::new();
    walk(value, &mut Vec::new(), &mut out);
    out
}

/// The document with at most two items in each array: of more of the same, little is learnt.
pub(crate) fn pruned(document: &Value) -> Value {
    match document {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(k, v)| (k.clone(), pruned(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().take(2).map(pruned).collect()),
        leaf => leaf.clone(),
    }
}

/// The document with another value at this path.
pub(crate) fn replaced(document: &Value, path: &[Step], value: Value) -> Value {
    let mut document = document.clone();
    let mut place = &mut document;
    for step in path {
        place = match step {
            Step::Key(key) => place.get_mut(key).expect("a path into the document"),
            Step::Index(i) => place.get_mut(*i).expect("a path into the document"),
        };
    }
    *place = value;
    document
}

/// `phases.1.load`, as a path.
pub(crate) fn path(text: &str) -> Vec<Step> {
    text.split('.')
        .map(|part| part.parse().map_or_else(|_| Step::Key(part.to_owned()), Step::Index))
        .collect()
}

/// A path as `phases.1.load`.
pub(crate) fn text(path: &[Step]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(i) => i.to_string(),
        })
        .collect::<Vec<_>>()
        .join(".")
}
