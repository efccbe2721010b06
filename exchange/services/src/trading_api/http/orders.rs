//! Orders: placed, looked at, replaced, cancelled.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use exchange_api::{
    ApiError, CHANNEL_HEADER, ErrorBody, ErrorCode, IDEMPOTENCY_HEADER, OrderList, OrderRequest,
    OrderView, ReplaceRequest, validate, validate_replace,
};
use exchange_matching::{OrderId, UserId};
use serde::de::DeserializeOwned;

use super::App;
use super::query::{LIST_DEFAULT, LIST_MAX, Parameters, before, bounded, page};
use super::word::Word;
use crate::common::error_response;
use crate::trading_api::exchange::HeldOrder;

/// Place an order
///
/// Answered once the order is safe, as it was when it had just been carried out. Sent again with the same
/// `client_order_id`, the same order is answered the same and done once.
#[utoipa::path(
    post,
    path = "/api/orders",
    request_body = OrderRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The client_order_id, beside the body's or instead of it."),
        ("X-Order-Channel" = Option<String>, Header, description = "`simulator` is counted apart."),
    ),
    responses(
        (status = 201, description = "It was taken.", body = OrderView),
        (status = 400, description = "The body cannot be read, or header and body name different keys.", body = ErrorBody),
        (status = 409, description = "The key was used for a different order.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 422, description = "No order can be like this.", body = ErrorBody),
        (status = 500, description = "The journal failed; whether the order was kept is not known.", body = ErrorBody),
        (status = 503, description = "Nothing was taken; try again.", body = ErrorBody),
    )
)]
pub(super) async fn place_order(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let channel = match headers.get(CHANNEL_HEADER) {
        Some(value) if value == "simulator" => "simulator",
        _ => "direct",
    };
    let (request, answer) = match read_order(&headers, body) {
        Err(error) => (OrderRequest::default(), Err(error)),
        Ok((request, Err(error))) => (request, Err(error)),
        Ok((request, Ok(order))) => (request, app.sequencer.place(order, channel).await),
    };
    match answer {
        Ok(view) => (StatusCode::CREATED, Json(view)).into_response(),
        Err(error) => {
            let kind = known(&request.kind, ["LIMIT", "MARKET"]);
            let side = known(&request.side, ["BUY", "SELL"]);
            app.metrics.orders.with_label_values(&[kind, side, "rejected", channel]).inc();
            error_response(error)
        }
    }
}

type ReadOrder = (OrderRequest, Result<exchange_api::ValidOrder, ApiError>);

fn read_order(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ReadOrder, ApiError> {
    let request: OrderRequest = read_json(body)?;
    let key = match headers.get(IDEMPOTENCY_HEADER).map(|value| value.to_str()) {
        None => None,
        Some(Ok(key)) => Some(key),
        Some(Err(_)) => {
            let error = ApiError::new(
                ErrorCode::InvalidClientOrderId,
                "the Idempotency-Key header is not printable ASCII",
            );
            return Ok((request, Err(error)));
        }
    };
    let order = validate(&request, key);
    Ok((request, order))
}

fn read_json<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let body = body.map_err(|error| {
        let code = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::BodyTooLarge,
            _ => ErrorCode::InvalidRequest,
        };
        ApiError::new(code, error.body_text())
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, format!("the body: {error}")))
}

/// A label must be one of few words, whatever a client sends.
fn known(word: &str, words: [&'static str; 2]) -> &'static str {
    words.into_iter().find(|known| *known == word).unwrap_or("unknown")
}

/// List the newest orders
#[utoipa::path(
    get,
    path = "/api/orders",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most so many: 50 unless told otherwise, up to 1000."),
        ("before" = Option<String>, Query, pattern = "^[0-9]{1,19}$", description = "Only orders older than this one, as `next_before` gives it."),
    ),
    responses(
        (status = 200, description = "The newest first.", body = OrderList),
        (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    )
)]
pub(super) async fn list_orders(
    State(app): State<App>,
    Query(query): Query<Parameters>,
) -> Response {
    list(&app, &query, None).map_or_else(error_response, |list| Json(list).into_response())
}

/// List a user's newest orders
///
/// A user whom nobody has seen has none.
#[utoipa::path(
    get,
    path = "/api/users/{user_id}/orders",
    params(
        ("user_id" = String, Path, description = "As the orders have it."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most so many: 50 unless told otherwise, up to 1000."),
        ("before" = Option<String>, Query, pattern = "^[0-9]{1,19}$", description = "Only orders older than this one, as `next_before` gives it."),
    ),
    responses(
        (status = 200, description = "The newest first.", body = OrderList),
        (status = 400, description = "A parameter is wrong.", body = ErrorBody),
        (status = 404, description = "The path is not readable.", body = ErrorBody),
        (status = 422, description = "No user can be called this.", body = ErrorBody),
    )
)]
pub(super) async fn list_orders_of_user(
    State(app): State<App>,
    Word(user): Word,
    Query(query): Query<Parameters>,
) -> Response {
    let user = UserId::new(&user)
        .map_err(|error| ApiError::new(ErrorCode::InvalidUserId, format!("user_id {error}")));
    user.and_then(|user| list(&app, &query, Some(&user)))
        .map_or_else(error_response, |list| Json(list).into_response())
}

fn list(app: &App, query: &Parameters, user: Option<&UserId>) -> Result<OrderList, ApiError> {
    let limit = bounded(query, "limit", LIST_DEFAULT, LIST_MAX)?;
    let before = before(query)?.map(OrderId);
    let exchange = app.exchange();
    let ((found, is_more), total) = match user {
        None => (page(exchange.newest_first(before), limit), exchange.held_orders()),
        Some(user) => {
            (page(exchange.newest_first_of(user, before), limit), exchange.held_orders_of(user))
        }
    };
    let last = found.last().filter(|_| is_more);
    Ok(OrderList {
        next_before: last.map(|held| held.place.order_id.to_string()),
        orders: found.into_iter().map(HeldOrder::view).collect(),
        total,
    })
}

/// Look at an order
#[utoipa::path(
    get,
    path = "/api/orders/{id}",
    params(("id" = String, Path, description = "The exchange's name for it.")),
    responses(
        (status = 200, description = "As it is now.", body = OrderView),
        (status = 404, description = "There is none, or none any more in memory.", body = ErrorBody),
    )
)]
pub(super) async fn get_order(State(app): State<App>, Word(id): Word) -> Response {
    let view = parse_id(&id).and_then(|order_id| {
        app.exchange().order(order_id).map(HeldOrder::view).ok_or_else(|| no_order(&id))
    });
    view.map_or_else(error_response, |view| Json(view).into_response())
}

/// Cancel an order
///
/// Cancelling twice is as good as once.
#[utoipa::path(
    delete,
    path = "/api/orders/{id}",
    params(("id" = String, Path, description = "The exchange's name for it.")),
    responses(
        (status = 200, description = "As it ended.", body = OrderView),
        (status = 404, description = "There is none, or none any more in memory.", body = ErrorBody),
        (status = 409, description = "It is filled.", body = ErrorBody),
        (status = 500, description = "The journal failed; whether it was cancelled is not known.", body = ErrorBody),
        (status = 503, description = "Nothing was done; try again.", body = ErrorBody),
    )
)]
pub(super) async fn cancel_order(State(app): State<App>, Word(id): Word) -> Response {
    let answer = match parse_id(&id) {
        Ok(order_id) => app.sequencer.cancel(order_id).await,
        Err(error) => Err(error),
    };
    answer.map_or_else(error_response, |view| Json(view).into_response())
}

/// Replace an order
///
/// Gives a resting order another price or quantity. It keeps its id and what has traded of it; it keeps its
/// place in the queue where it only becomes smaller, else it arrives anew and may trade.
#[utoipa::path(
    patch,
    path = "/api/orders/{id}",
    params(("id" = String, Path, description = "The exchange's name for it.")),
    request_body = ReplaceRequest,
    responses(
        (status = 200, description = "As it is then.", body = OrderView),
        (status = 400, description = "The body cannot be read, or asks for nothing.", body = ErrorBody),
        (status = 404, description = "There is none, or none any more in memory.", body = ErrorBody),
        (status = 409, description = "It has ended, or as much has traded already.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 422, description = "No order can be like this.", body = ErrorBody),
        (status = 500, description = "The journal failed; whether it was replaced is not known.", body = ErrorBody),
        (status = 503, description = "Nothing was done; try again.", body = ErrorBody),
    )
)]
pub(super) async fn replace_order(
    State(app): State<App>,
    Word(id): Word,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let replace = parse_id(&id).and_then(|order_id| {
        let request: ReplaceRequest = read_json(body)?;
        validate_replace(order_id, request)
    });
    let answer = match replace {
        Ok(replace) => app.sequencer.replace(replace).await,
        Err(error) => Err(error),
    };
    answer.map_or_else(error_response, |view| Json(view).into_response())
}

fn parse_id(id: &str) -> Result<OrderId, ApiError> {
    id.parse().map(OrderId).map_err(|_| no_order(id))
}

fn no_order(id: &str) -> ApiError {
    let id: String = id.chars().take(32).collect();
    ApiError::new(ErrorCode::OrderNotFound, format!("there is no order {id}"))
}
