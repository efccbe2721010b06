//! Group commit, and what goes on while the disk is slow.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use exchange_journal::sim::SimStorage;
use exchange_journal::{FsStorage, SegmentFile, Storage};
use exchange_services::common::monotonic;
use serde_json::json;

use crate::support::api::{Api, Clients, NO_REDIS, nowhere, order, parts};
use crate::support::eventually;

/// A disk whose syncs take their time.
#[derive(Debug)]
struct Slow {
    inner: Arc<dyn Storage>,
    sync: Duration,
}

struct SlowFile {
    inner: Box<dyn SegmentFile>,
    sync: Duration,
}

impl Slow {
    fn slowed(&self, inner: Box<dyn SegmentFile>) -> Box<dyn SegmentFile> {
        Box::new(SlowFile { inner, sync: self.sync })
    }
}

impl Storage for Slow {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.inner.create(name).map(|file| self.slowed(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.inner.open(name).map(|file| self.slowed(file))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
}

impl SegmentFile for SlowFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.inner.len_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    #[expect(clippy::disallowed_methods, reason = "the slowness of a disk is what is simulated")]
    fn sync_data(&mut self) -> io::Result<()> {
        std::thread::sleep(self.sync);
        self.inner.sync_data()
    }

    fn truncate(&mut self, len_bytes: u64) -> io::Result<()> {
        self.inner.truncate(len_bytes)
    }
}

async fn accept(api: &Api, clients: usize, orders: usize) -> Duration {
    let began = monotonic();
    let clients = Clients::start(&api.caller, clients, "g-");
    eventually("orders are accepted", Duration::from_secs(30), || async {
        (clients.acknowledged() >= orders).then_some(())
    })
    .await;
    let took = began.elapsed();
    clients.stop().await;
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_share_a_sync() {
    let sync = Duration::from_millis(10);
    let slow = Slow { inner: Arc::new(SimStorage::new()), sync };
    let api = Api::start(parts(slow, nowhere(), NO_REDIS)).await;
    accept(&api, 64, 1000).await;
    let text = api.caller.metrics().await;
    let (orders, syncs) = (
        crate::support::api::sum(&text, "orders_total"),
        crate::support::api::sum(&text, "journal_fsyncs_total"),
    );
    assert!(orders >= 1000.0);
    assert!(syncs * 8.0 < orders, "{syncs} syncs for {orders} orders");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sync_holds_up_its_own_orders_and_nothing_else() {
    let sync = Duration::from_millis(800);
    let slow = Slow { inner: Arc::new(SimStorage::new()), sync };
    let api = Api::start(parts(slow, nowhere(), NO_REDIS)).await;
    let waiting = {
        let caller = api.caller.clone();
        tokio::spawn(async move {
            let began = monotonic();
            let answer = caller.post(&order("slow", 0)).await;
            (answer, began.elapsed())
        })
    };
    eventually("the order is on its way", Duration::from_secs(5), || async {
        let stats = api.caller.metric("relay_backlog_orders").await;
        assert_eq!(stats, 0.0, "not durable, so not an order yet");
        (!waiting.is_finished()).then_some(())
    })
    .await;
    let began = monotonic();
    // What is not durable is not shown.
    assert_eq!(api.caller.get("/api/orderbook/BTCUSD").await.1["bids"], json!([]));
    assert_eq!(api.caller.get("/api/orders").await.1["total"], 0);
    assert_eq!(api.caller.get("/health").await.0, 200);
    assert!(began.elapsed() < sync / 2, "a look waited for the disk: {:?}", began.elapsed());
    let ((status, _), took) = waiting.await.unwrap();
    assert_eq!(status, 201);
    assert!(took >= sync, "acknowledged after {took:?}, before the sync");
    assert_eq!(api.caller.get("/api/orders").await.1["total"], 1);
    api.stop().await;
}

/// No bound: it depends on the disk and on who else uses the machine. To be looked at.
#[tokio::test(flavor = "multi_thread")]
async fn how_many_orders_a_real_disk_takes() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(dir.path()).unwrap();
    let api = Api::start(parts(storage, nowhere(), NO_REDIS)).await;
    let orders = 2000;
    let took = accept(&api, 64, orders).await;
    let text = api.caller.metrics().await;
    let syncs = crate::support::api::sum(&text, "journal_fsyncs_total");
    eprintln!("{orders} orders in {took:?}, {syncs} syncs in all");
    api.stop().await;
}
