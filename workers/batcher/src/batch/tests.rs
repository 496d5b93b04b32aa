use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tapekeeper_market::Timestamp;

use super::*;
use crate::encode::EncodedPart;

const LIMITS: Limits = Limits { rows: 100, bytes: 10_000, delay: Duration::from_secs(1), envelopes_per_queue: 20 };

fn id(sequence: u64) -> EnvelopeId {
    EnvelopeId { feed: Arc::from("md/binance"), epoch: 3, sequence }
}

/// An envelope whose rows are ten bytes each, all of its number.
fn envelope(sequence: u64, parts: &[(Table, i64, u32)]) -> EncodedEnvelope {
    let (first, last) = (Timestamp::default(), Timestamp::default());
    let part =
        |&(table, day, rows): &(Table, i64, u32)| EncodedPart { table, day, rows, bytes: vec![sequence as u8; 10 * rows as usize], first, last };
    EncodedEnvelope { id: id(sequence), received: first, parts: parts.iter().map(part).collect() }
}

fn origin(tag: u64) -> Origin {
    Origin { queue: 0, tag }
}

#[test]
fn a_batch_holds_a_block_per_table_and_day_with_whole_envelopes_in_order() {
    let now = Instant::now();
    let mut batch = Batch::new(2, LIMITS);
    batch.push(Origin { queue: 1, tag: 5 }, envelope(1, &[(Table::Quotes, 9, 2), (Table::Ticks, 8, 1)]), now);
    batch.push(Origin { queue: 0, tag: 2 }, envelope(2, &[(Table::Ticks, 8, 3), (Table::Ticks, 9, 1)]), now);
    batch.push(Origin { queue: 1, tag: 6 }, envelope(3, &[]), now);
    let closed = batch.close().unwrap();
    let blocks: Vec<_> = closed
        .blocks
        .iter()
        .map(|block| {
            (block.table, block.day, block.rows(), block.entries.iter().map(|entry| (entry.id.sequence, entry.origin.queue)).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(blocks, [(Table::Ticks, 8, 4, vec![(1, 1), (2, 0)]), (Table::Ticks, 9, 1, vec![(2, 0)]), (Table::Quotes, 9, 2, vec![(1, 1)]),]);
    assert_eq!(closed.blocks[0].bytes, [vec![1; 10], vec![2; 30]].concat());
    assert_eq!(closed.tags, [vec![2], vec![5, 6]]);
    assert_eq!(batch.close(), None);
}

#[test]
fn a_batch_is_due_its_delay_after_its_first_envelope() {
    let (mut batch, start) = (Batch::new(1, LIMITS), Instant::now());
    assert_eq!(batch.due(), None);
    batch.push(origin(1), envelope(1, &[(Table::Ticks, 1, 1)]), start);
    batch.push(origin(2), envelope(2, &[(Table::Ticks, 1, 1)]), start + Duration::from_millis(900));
    assert_eq!(batch.due(), Some(start + LIMITS.delay));
    batch.close();
    assert_eq!(batch.due(), None);
}

#[test]
fn an_envelope_larger_than_a_whole_batch_is_taken_alone() {
    let now = Instant::now();
    let mut batch = Batch::new(1, LIMITS);
    let large = envelope(1, &[(Table::Ticks, 1, 250)]);
    assert!(batch.takes(&large));
    batch.push(origin(1), large.clone(), now);
    assert!(batch.is_full() && !batch.takes(&envelope(2, &[])));
    batch.close();
    batch.push(origin(2), envelope(2, &[(Table::Ticks, 1, 1)]), now);
    assert!(!batch.takes(&large));
}

#[test]
fn a_batch_is_full_before_a_queue_runs_out_of_prefetch() {
    let mut batch = Batch::new(2, LIMITS);
    for tag in 0..20 {
        assert!(!batch.is_full());
        batch.push(origin(tag), envelope(tag, &[]), Instant::now());
    }
    assert!(batch.is_full());
}

#[test]
fn a_token_depends_on_the_table_the_day_and_the_envelopes_in_order_and_on_nothing_else() {
    let block = |table, day, sequences: &[u64]| {
        let mut batch = Batch::new(1, LIMITS);
        for sequence in sequences {
            batch.push(origin(*sequence + 100), envelope(*sequence, &[(table, day, 1)]), Instant::now());
        }
        batch.close().unwrap().blocks.remove(0).token()
    };
    let token = block(Table::Ticks, 1, &[1, 2]);
    // Fixed for all time: a batcher of a later release must repeat what one of an earlier release began.
    assert_eq!(token, "f6cd340ffd12dc05dce18ba2fa177b125907e4b4ffef48132ae7f1c2118d637c");
    assert_eq!(token, block(Table::Ticks, 1, &[1, 2]));
    for other in [block(Table::Quotes, 1, &[1, 2]), block(Table::Ticks, 2, &[1, 2]), block(Table::Ticks, 1, &[2, 1]), block(Table::Ticks, 1, &[1])] {
        assert_ne!(token, other);
    }
}

#[test]
fn halves_of_a_block_hold_its_envelopes_whole() {
    let mut batch = Batch::new(1, LIMITS);
    for (sequence, rows) in [(1, 3), (2, 1), (3, 2)] {
        batch.push(origin(sequence), envelope(sequence, &[(Table::Ticks, 1, rows)]), Instant::now());
    }
    let block = batch.close().unwrap().blocks.remove(0);
    let (first, second) = block.halves().unwrap();
    assert_eq!((first.bytes.as_ref(), second.bytes.as_ref()), ([1; 30].as_slice(), [vec![2; 10], vec![3; 20]].concat().as_slice()));
    assert_eq!([first.entries.clone(), second.entries].concat(), block.entries);
    assert_eq!(first.halves(), None);
}

proptest! {
    #[test]
    fn no_batch_exceeds_its_limits_and_none_loses_or_doubles_an_envelope(
        sizes in proptest::collection::vec((0_u32..60, 0_u32..60, 0_i64..3), 1..300),
    ) {
        let now = Instant::now();
        let mut batch = Batch::new(1, LIMITS);
        let mut closed = Vec::new();
        for (sequence, (ticks, quotes, day)) in sizes.iter().enumerate() {
            let mut parts = vec![(Table::Ticks, *day, *ticks), (Table::Quotes, day + 1, *quotes)];
            parts.retain(|(_, _, rows)| *rows > 0);
            let envelope = envelope(sequence as u64, &parts);
            if !batch.takes(&envelope) {
                closed.extend(batch.close());
            }
            batch.push(origin(sequence as u64), envelope, now);
        }
        closed.extend(batch.close());
        let mut rows: BTreeMap<(Table, i64, u64), u32> = BTreeMap::new();
        for Closed { blocks, tags } in &closed {
            let total: u64 = blocks.iter().map(Block::rows).sum();
            prop_assert!(total <= LIMITS.rows || tags[0].len() == 1);
            prop_assert!(tags[0].len() <= LIMITS.envelopes_per_queue);
            for block in blocks {
                prop_assert_eq!(block.bytes.len() as u64, 10 * block.rows());
                for entry in &block.entries {
                    prop_assert!(rows.insert((block.table, block.day, entry.id.sequence), entry.rows).is_none());
                }
            }
        }
        let expected: BTreeMap<_, _> = sizes.iter().enumerate().flat_map(|(sequence, (ticks, quotes, day))| {
            [((Table::Ticks, *day, sequence as u64), *ticks), ((Table::Quotes, day + 1, sequence as u64), *quotes)]
        }).filter(|(_, rows)| *rows > 0).collect();
        prop_assert_eq!(rows, expected);
        let tags: Vec<u64> = closed.iter().flat_map(|closed| closed.tags[0].clone()).collect();
        prop_assert_eq!(tags, (0..sizes.len() as u64).collect::<Vec<_>>());
    }
}
