//! The control listener: the truth and the script over plain HTTP, for tests outside this process.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::floor::{ConnectionView, Floor};
use crate::script::Command;
use crate::tape::Trade;
use crate::truth::{Truth, decimal};

/// Bytes of trade lines sent as one piece.
const PIECE: usize = 256 << 10;

/// Serves the control routes until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, floor: Arc<Floor>) {
    let routes = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/truth", get(truth))
        .route("/truth/trades", get(trades))
        .route("/connections", get(connections))
        .route("/script", post(script))
        .with_state(floor);
    if let Err(error) = axum::serve(listener, routes).await {
        warn!(%error, "the control listener ended");
    }
}

async fn truth(State(floor): State<Arc<Floor>>) -> Json<Truth> {
    Json(floor.truth())
}

async fn connections(State(floor): State<Arc<Floor>>) -> Json<Vec<ConnectionView>> {
    Json(floor.connections())
}

async fn script(State(floor): State<Arc<Floor>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Command>(&body) {
        Ok(command) => {
            info!(?command, "script");
            Json(json!({ "connections": floor.script(&command) })).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response(),
    }
}

/// `symbol=` or `stream=` names the trades; `heard=true` leaves out those that nobody heard.
async fn trades(State(floor): State<Arc<Floor>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let value = |key: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == key);
    let by_symbol = value("symbol").and_then(|(_, symbol)| floor.trade_stream(symbol));
    let stream = value("stream").map_or(by_symbol, |(_, stream)| Some(stream));
    let heard_only = value("heard").is_some_and(|(_, heard)| heard == "true");
    let Some((trades, heard)) = stream.and_then(|stream| floor.history(&stream.replace("%40", "@"))) else {
        return (StatusCode::NOT_FOUND, "no such symbol or stream of trades\n").into_response();
    };
    let mut chosen = trades.filter(move |trade| !heard_only || heard.contains(trade.id)).peekable();
    let pieces = std::iter::from_fn(move || {
        chosen.peek()?;
        let mut piece = Vec::with_capacity(PIECE + 128);
        while piece.len() < PIECE
            && let Some(trade) = chosen.next()
        {
            push_line(&mut piece, &trade);
        }
        Some(Ok::<_, std::convert::Infallible>(Bytes::from(piece)))
    });
    let body = Body::from_stream(futures::stream::iter(pieces));
    ([(header::CONTENT_TYPE, "text/plain")], body).into_response()
}

/// `id price quantity time maker`.
fn push_line(out: &mut Vec<u8>, trade: &Trade) {
    let Trade { id, price, quantity, time, buyer_is_maker } = trade;
    let (price, quantity) = (decimal((*price).into()), decimal((*quantity).into()));
    // Writing to a `Vec` cannot fail.
    let _ = writeln!(out, "{id} {price} {quantity} {time} {buyer_is_maker}");
}
