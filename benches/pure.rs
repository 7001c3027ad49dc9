//! The pure rooms by themselves, on one core: what a packet, a stored test, a split costs.
//!
//! `cargo bench` compares with the run before on this machine; figures of two machines do not compare.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use regatta::event::{FileChunk, FinishedTest, Stamp, Status, TestEvent};
use regatta::schedule::{Asker, Queue, Suite, partition};
use regatta::test_id::{Groups, TestId};
use regatta::wire::{Item, Scanner, encode, forward, v1};

fn event(n: usize, status: Status) -> TestEvent {
    TestEvent {
        id: Some(format!("suite.package.module.Case.test_{n:06}").into()),
        status: Some(status),
        runnable: true,
        time: Stamp::from_timestamp(1_600_000_000, 0),
        ..TestEvent::default()
    }
}

/// `tests` tests of two packets each, with an attachment of this many bytes between them if there is one.
fn stream(tests: usize, attached: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for n in 0..tests {
        encode(&mut stream, &event(n, Status::InProgress));
        if attached > 0 {
            let file = FileChunk { name: "log".into(), mime: None, bytes: vec![b'x'; attached].into(), eof: true };
            encode(&mut stream, &TestEvent { status: None, file: Some(file), ..event(n, Status::Success) });
        }
        encode(&mut stream, &event(n, Status::Success));
    }
    stream
}

fn scan(stream: &[u8]) -> Vec<Item> {
    let (mut scanner, mut items) = (Scanner::new(), Vec::new());
    scanner.feed(stream, &mut items);
    scanner.finish(&mut items);
    items
}

fn wire(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    for (name, tests, attached) in [("small", 10_000, 0), ("64 KiB", 200, 64 * 1024)] {
        let stream = stream(tests, attached);
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(format!("scan {name}"), |b| b.iter(|| scan(black_box(&stream))));
        let mut events: Vec<TestEvent> = Vec::new();
        for item in scan(&stream) {
            let Item::Packet { mut event, .. } = item else { continue };
            event.worker_tag = Some("worker-1".into());
            event.route = Some("1".into());
            events.push(event);
        }
        group.bench_function(format!("forward {name}"), |b| {
            let mut out = Vec::with_capacity(stream.len() * 2);
            b.iter(|| {
                out.clear();
                events.iter().for_each(|event| forward(&mut out, event, Stamp::default()));
                out.len()
            });
        });
    }
    group.finish();
}

fn stored(c: &mut Criterion) {
    let tests: Vec<FinishedTest> = (0..10_000)
        .map(|n| FinishedTest {
            id: format!("suite.package.module.Case.test_{n:06}").into(),
            status: Some(Status::Success),
            tags: vec!["worker-1".into()],
            start: Stamp::default(),
            stop: Some(Stamp::default()),
            ..FinishedTest::default()
        })
        .collect();
    let mut group = c.benchmark_group("v1");
    group.throughput(Throughput::Elements(tests.len() as u64));
    let write = || {
        let mut text = Vec::new();
        tests.iter().for_each(|test| v1::write_test(&mut text, test).expect("memory takes it"));
        text
    };
    group.bench_function("write", |b| b.iter(write));
    let text = write();
    group.bench_function("read", |b| b.iter(|| v1::Reader::new(black_box(text.as_slice())).count()));
    group.finish();
}

fn split(c: &mut Criterion) {
    let ids: Vec<TestId> = (0..100_000).map(|n| format!("suite.mod{}.test_{n}", n % 500).as_str().into()).collect();
    let times: HashMap<TestId, f64> = ids.iter().zip(0u32..).map(|(id, n)| (id.clone(), f64::from(n % 97))).collect();
    let groups = Groups::new(r"([^\.]+\.)+").expect("it is a pattern");
    let mut group = c.benchmark_group("schedule");
    group.throughput(Throughput::Elements(ids.len() as u64));
    for (name, groups) in [("100,000 tests", None), ("in 500 groups", groups.as_ref())] {
        let suite = Suite::new(ids.clone(), groups).expect("the pattern matches");
        group.bench_function(format!("partition, {name}"), |b| b.iter(|| partition(&suite, 16, &times)));
        group.bench_function(format!("queue, {name}"), |b| {
            b.iter(|| {
                let mut queue = Queue::by_group(suite.grouped(suite.tests()));
                let asker = Asker { place: None, has_others: false, hands: 16, others_run: false, least: 1 };
                std::iter::from_fn(|| queue.take(asker)).count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, wire, stored, split);
criterion_main!(benches);
