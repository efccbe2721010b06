//! The exchange's HTTP wire types and error codes.
