//! The table, asked past the product.

use anyhow::{Context, Result, bail};
use tapekeeper_test_ground::kubernetes::Endpoint;

use crate::venue::Trade;

/// ClickHouse over HTTPS.
#[derive(Debug)]
pub struct Database {
    client: reqwest::Client,
    endpoint: Endpoint,
}

impl Database {
    pub(crate) fn new(client: reqwest::Client, endpoint: Endpoint) -> Self {
        Self { client, endpoint }
    }

    /// Runs one statement and returns its rows as tab-separated text.
    ///
    /// # Errors
    /// With what ClickHouse said.
    pub async fn query(&self, sql: &str) -> Result<String> {
        let Endpoint { uri, username, password, .. } = &self.endpoint;
        let response = self.client.post(uri).basic_auth(username, Some(password)).body(sql.to_owned()).send().await?;
        let succeeded = response.status().is_success();
        let text = response.text().await?;
        if !succeeded {
            bail!("{sql}: {text}");
        }
        Ok(text)
    }

    /// One number.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn count(&self, sql: &str) -> Result<u64> {
        let text = self.query(sql).await?;
        text.trim().parse().with_context(|| format!("{sql}: {text}"))
    }

    /// Every row of `database`.ticks for `symbol`, in the order of trade ids, as the venue would tell them.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn trades(&self, database: &str, symbol: &str) -> Result<Vec<Trade>> {
        let sql = format!(
            "SELECT trade_id, toString(toDecimal64(price, 8)), toString(toDecimal64(volume, 8)), toUnixTimestamp64Milli(timestamp), side = 'sell' \
             FROM {database}.ticks WHERE symbol = '{symbol}' ORDER BY trade_id FORMAT TSV"
        );
        self.query(&sql).await?.lines().map(|line| Trade::from_row(&line.split('\t').collect::<Vec<_>>())).collect()
    }
}
