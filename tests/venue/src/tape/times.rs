//! The times of a tape's trades, kept small: they are the one thing about a seeded tape that can't be drawn again.

/// The times of a symbol's trades, as runs of (number of trades, milliseconds since the run before), both LEB128.
#[derive(Debug, Clone, Default)]
pub struct Times {
    runs: Vec<u8>,
    /// The run that still grows: trades in it, and its time.
    open: (u64, i64),
    /// The time of the run before.
    closed: i64,
}

impl Times {
    /// Adds the time of the next trade; not before the one before it.
    pub fn push(&mut self, time: i64) {
        if self.open.0 > 0 && self.open.1 != time {
            self.close();
        }
        self.open = (self.open.0 + 1, time);
    }

    fn close(&mut self) {
        let (count, time) = self.open;
        push_leb128(&mut self.runs, count);
        push_leb128(&mut self.runs, (time - self.closed) as u64);
        self.closed = time;
        self.open.0 = 0;
    }

    /// The times, one per trade.
    pub fn into_times(mut self) -> impl Iterator<Item = i64> + Send {
        if self.open.0 > 0 {
            self.close();
        }
        let (runs, mut at, mut time) = (self.runs, 0, 0_i64);
        std::iter::from_fn(move || {
            let count = take_leb128(&runs, &mut at)?;
            time += take_leb128(&runs, &mut at)? as i64;
            Some(std::iter::repeat_n(time, count as usize))
        })
        .flatten()
    }
}

fn push_leb128(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_leb128(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were_and_runs_take_few_bytes() {
        let start = 1_700_000_000_000;
        let expected: Vec<i64> = (0..100_000).map(|n| start + n / 300).collect();
        let mut times = Times::default();
        expected.iter().for_each(|time| times.push(*time));
        assert!(times.runs.len() < 1_100, "{} bytes", times.runs.len());
        assert_eq!(times.clone().into_times().collect::<Vec<_>>(), expected);
        assert_eq!(Times::default().into_times().count(), 0);
    }
}
