//! Books and trades.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use exchange_api::{ApiError, BookView, ErrorBody, ErrorCode, TradeList};
use exchange_matching::{Symbol, TradeId, UnknownSymbol};

use super::App;
use super::query::{LIST_DEFAULT, LIST_MAX, Parameters, before, bounded, page};
use super::word::Word;
use crate::common::error_response;
use crate::trading_api::tape::Printed;

const DEPTH_DEFAULT: usize = 50;
const DEPTH_MAX: usize = 1000;

/// Look at a book
#[utoipa::path(
    get,
    path = "/api/orderbook/{symbol}",
    params(
        ("symbol" = String, Path, description = "Such as BTCUSD."),
        ("depth" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Prices on either side: 50 unless told otherwise, up to 1000."),
    ),
    responses(
        (status = 200, description = "The best prices first.", body = BookView),
        (status = 400, description = "A parameter is wrong.", body = ErrorBody),
        (status = 404, description = "It is not traded here.", body = ErrorBody),
    )
)]
pub(super) async fn get_book(
    State(app): State<App>,
    Word(symbol): Word,
    Query(query): Query<Parameters>,
) -> Response {
    let symbol = match symbol_named(&symbol) {
        Ok(symbol) => symbol,
        Err(error) => {
            let mut response = error_response(error);
            // In a path, what is not there is not found.
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
    };
    match bounded(&query, "depth", DEPTH_DEFAULT, DEPTH_MAX) {
        Ok(depth) => {
            let book = app.exchange().book(symbol, depth);
            Json(book).into_response()
        }
        Err(error) => error_response(error),
    }
}

/// List the newest trades
///
/// Of those that are held in memory: the last hundred thousand.
#[utoipa::path(
    get,
    path = "/api/trades",
    params(
        ("symbol" = Option<String>, Query, description = "Only of this symbol."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most so many: 50 unless told otherwise, up to 1000."),
        ("before" = Option<String>, Query, pattern = "^[0-9]{1,19}$", description = "Only trades older than this one, as `next_before` gives it."),
    ),
    responses(
        (status = 200, description = "The newest first.", body = TradeList),
        (status = 400, description = "A parameter is wrong.", body = ErrorBody),
        (status = 422, description = "The symbol is not traded here.", body = ErrorBody),
    )
)]
pub(super) async fn list_trades(
    State(app): State<App>,
    Query(query): Query<Parameters>,
) -> Response {
    trades(&app, &query).map_or_else(error_response, |list| Json(list).into_response())
}

fn trades(app: &App, query: &Parameters) -> Result<TradeList, ApiError> {
    let limit = bounded(query, "limit", LIST_DEFAULT, LIST_MAX)?;
    let before = before(query)?.map(TradeId);
    let symbol = query.get("symbol").map(|name| symbol_named(name)).transpose()?;
    let exchange = app.exchange();
    let of_symbol = |one: &&Printed| symbol.is_none_or(|symbol| one.trade.symbol == symbol);
    let (found, is_more) = page(exchange.tape().newest_first(before).filter(of_symbol), limit);
    let last = found.last().filter(|_| is_more);
    Ok(TradeList {
        next_before: last.map(|one| one.trade.trade_id.to_string()),
        trades: found.into_iter().map(Printed::view).collect(),
    })
}

pub(super) fn symbol_named(name: &str) -> Result<Symbol, ApiError> {
    name.parse()
        .map_err(|error: UnknownSymbol| ApiError::new(ErrorCode::UnknownSymbol, error.to_string()))
}
