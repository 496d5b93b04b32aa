//! Which instruments share a socket. All streams of an instrument lie on the same one, so that its trades and quotes keep their order.

use tapekeeper_contract::settings::{Channel, ConnectorSettings, SettingsError};
use tapekeeper_market::Instrument;

use crate::venues::Limits;

/// What a feed takes, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The instruments, no two the same.
    pub instruments: Vec<Instrument>,
    /// The channels, no two the same.
    pub channels: Vec<Channel>,
    /// Per socket, the indices of its instruments.
    pub sockets: Vec<Vec<usize>>,
}

impl Plan {
    /// Spreads the instruments of `settings` evenly over as few sockets as `limits` and the settings allow.
    ///
    /// # Errors
    /// [`SettingsError`] when an instrument is not one or is named twice, or when one socket can't hold all streams of an instrument.
    pub fn new(settings: &ConnectorSettings, limits: &Limits) -> Result<Self, SettingsError> {
        let mut channels = settings.channels.clone();
        channels.sort_unstable();
        channels.dedup();
        let mut instruments = Vec::with_capacity(settings.instruments.len());
        for text in &settings.instruments {
            let instrument: Instrument = text.parse().map_err(|_| SettingsError::OutOfRange {
                field: "instruments",
                value: text.clone(),
                allowed: "BASE/QUOTE in capital letters, such as BTC/USDT",
            })?;
            instruments.push(instrument);
        }
        let mut sorted: Vec<&Instrument> = instruments.iter().collect();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SettingsError::OutOfRange { field: "instruments", value: twice[0].to_string(), allowed: "each instrument once" });
        }
        let streams = settings.max_streams.min(limits.streams_per_connection) as usize;
        let per_socket = streams / channels.len().max(1);
        if per_socket == 0 {
            let allowed = "at least as many as there are channels: the streams of an instrument share a connection";
            return Err(SettingsError::OutOfRange { field: "maxStreams", value: settings.max_streams.to_string(), allowed });
        }
        let sockets = evenly(instruments.len(), per_socket);
        Ok(Self { instruments, channels, sockets })
    }
}

/// `0..count` in as few runs as hold at most `most` each, the longest at most one longer than the shortest.
fn evenly(count: usize, most: usize) -> Vec<Vec<usize>> {
    let runs = count.div_ceil(most);
    (0..runs).map(|run| (run * count / runs..(run + 1) * count / runs).collect()).collect()
}

#[cfg(test)]
mod tests {
    use tapekeeper_contract::settings::{Broker, ObjectName};
    use tapekeeper_contract::{HumanDuration, Venue};

    use super::*;

    fn settings(instruments: &[&str], max_streams: u32) -> ConnectorSettings {
        ConnectorSettings {
            environment: "production".to_owned(),
            feed: ObjectName { namespace: "md".to_owned(), name: "binance".to_owned() },
            venue: Venue::Binance,
            endpoint: Venue::Binance.default_endpoint().to_owned(),
            instruments: instruments.iter().map(|&name| name.to_owned()).collect(),
            channels: vec![Channel::Quotes, Channel::Trades, Channel::Trades],
            max_streams,
            idle_timeout: HumanDuration::from_secs(30),
            broker: Broker { kind: "RabbitMQ".to_owned(), credentials: "secret".into(), vhost: "/".to_owned() },
            exchange: "crypto.ticks".to_owned(),
            extra_ca_certificates: None,
        }
    }

    fn limits() -> Limits {
        crate::venues::protocol(Venue::Binance).limits()
    }

    #[test]
    fn instruments_are_spread_evenly_and_none_is_torn_apart() {
        let plan = Plan::new(&settings(&["A/B", "C/B", "D/B", "E/B", "F/B"], 5), &limits()).unwrap();
        assert_eq!(plan.sockets, vec![vec![0], vec![1, 2], vec![3, 4]]);
        assert_eq!(plan.channels, vec![Channel::Trades, Channel::Quotes]);
    }

    #[test]
    fn the_venues_limit_caps_what_the_settings_ask_for() {
        let names: Vec<String> = (0..1_025).map(|number| format!("A{number}/B")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let plan = Plan::new(&settings(&names, 10_000), &limits()).unwrap();
        assert_eq!(plan.sockets.iter().map(Vec::len).collect::<Vec<_>>(), vec![341, 342, 342]);
    }

    #[test]
    fn what_cannot_be_planned_is_refused_by_the_name_of_its_field() {
        let refusal = |names: &[&str], max| Plan::new(&settings(names, max), &limits()).unwrap_err().to_string();
        assert_eq!(refusal(&["BTCUSDT"], 9), "settings: instruments: `BTCUSDT` is not allowed: BASE/QUOTE in capital letters, such as BTC/USDT");
        assert_eq!(refusal(&["A/B", "C/D", "A/B"], 9), "settings: instruments: `A/B` is not allowed: each instrument once");
        assert!(refusal(&["A/B"], 1).starts_with("settings: maxStreams: `1` is not allowed: at least as many as there are channels"));
    }
}
