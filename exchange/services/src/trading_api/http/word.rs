//! A word of a path.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::Response;
use exchange_api::{ApiError, ErrorCode};

use crate::common::error_response;

/// The one word that stands open in a route's path; what is not readable is not found, as every error with
/// its code.
pub(super) struct Word(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Word {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let word = Path::<String>::from_request_parts(parts, state).await;
        word.map(|Path(word)| Self(word)).map_err(|_| {
            error_response(ApiError::new(ErrorCode::NotFound, "the path is not readable as UTF-8"))
        })
    }
}
