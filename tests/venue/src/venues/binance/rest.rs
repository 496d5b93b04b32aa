//! The few REST answers that a market-data client asks for.

use serde_json::json;

use crate::truth::decimal;
use crate::venues::Route;

use super::symbols::Market;

/// Answers a GET of `api.binance.com`.
pub(super) fn answer(markets: &[Market], path: &str, query: &str, now: i64) -> Route {
    match path {
        "/api/v3/ping" => Route::Http { status: 200, body: "{}".to_owned() },
        "/api/v3/time" => Route::Http { status: 200, body: json!({ "serverTime": now }).to_string() },
        "/api/v3/exchangeInfo" => exchange_info(markets, query, now),
        _ => not_found(),
    }
}

/// The answer to a path that the venue doesn't have.
pub(super) fn not_found() -> Route {
    Route::Http { status: 404, body: r#"{"code":-1000,"msg":"Path not found."}"#.to_owned() }
}

fn exchange_info(markets: &[Market], query: &str, now: i64) -> Route {
    let wanted = query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        match key {
            "symbol" => Some(vec![value.to_owned()]),
            "symbols" => serde_json::from_str(&value.replace("%22", "\"").replace("%5B", "[").replace("%5D", "]").replace("%2C", ",")).ok(),
            _ => None,
        }
    });
    let chosen: Vec<&Market> = match &wanted {
        None => markets.iter().collect(),
        Some(names) => {
            let chosen: Vec<&Market> = markets.iter().filter(|market| names.contains(&market.symbol)).collect();
            if chosen.len() != names.len() {
                return Route::Http { status: 400, body: r#"{"code":-1121,"msg":"Invalid symbol."}"#.to_owned() };
            }
            chosen
        }
    };
    let symbols: Vec<_> = chosen
        .into_iter()
        .map(|market| {
            json!({
                "symbol": market.symbol, "status": "TRADING",
                "baseAsset": market.base, "baseAssetPrecision": 8,
                "quoteAsset": market.quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
                "orderTypes": ["LIMIT", "MARKET"], "isSpotTradingAllowed": true, "permissions": [],
                "filters": [
                    { "filterType": "PRICE_FILTER", "minPrice": decimal(market.tick.into()), "maxPrice": "1000000.00000000", "tickSize": decimal(market.tick.into()) },
                    { "filterType": "LOT_SIZE", "minQty": decimal(market.lot.into()), "maxQty": "9000.00000000", "stepSize": decimal(market.lot.into()) },
                ],
            })
        })
        .collect();
    let body = json!({ "timezone": "UTC", "serverTime": now, "rateLimits": [], "exchangeFilters": [], "symbols": symbols });
    Route::Http { status: 200, body: body.to_string() }
}
