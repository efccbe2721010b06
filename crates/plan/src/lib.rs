//! The experiment file: parsed, validated, described by a JSON Schema.
