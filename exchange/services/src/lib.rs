//! The exchange's services.
