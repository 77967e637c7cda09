//! Jobs that do what a test tells them to.

use tokio::sync::mpsc;

use super::*;
use crate::digest::Digest;
use crate::library::Origin;
use crate::manifest::Description;

/// One job that has begun: it ends as the test says.
struct Begun {
    name: ModelName,
    report: Report,
    end: tokio::sync::oneshot::Sender<PullResult<Entry>>,
}

struct Scripted(mpsc::UnboundedSender<Begun>);

impl Work for Scripted {
    fn pull<'a>(&'a self, wanted: &'a Wanted, report: Report) -> BoxFuture<'a, PullResult<Entry>> {
        let (end, ended) = tokio::sync::oneshot::channel();
        let begun = Begun { name: wanted.name.clone(), report, end };
        assert!(self.0.send(begun).is_ok(), "the test listens");
        Box::pin(async move { ended.await.unwrap() })
    }
}

struct Fixture {
    pulls: Pulls,
    begun: mpsc::UnboundedReceiver<Begun>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(at_once: u32, waiting: u32) -> Fixture {
        Fixture::over(tempfile::tempdir().unwrap(), at_once, waiting)
    }

    fn over(folder: tempfile::TempDir, at_once: u32, waiting: u32) -> Fixture {
        let (sender, begun) = mpsc::unbounded_channel();
        let work = Box::new(Scripted(sender));
        let pulls = Pulls::with(work, folder.path(), at_once, waiting).unwrap();
        Fixture { pulls, begun, folder }
    }

    async fn start(&self, name: &str, is_detached: bool) -> PullResult<PullWatch> {
        self.pulls.start(PullRequest { name: name.to_owned(), from: None, is_detached }).await
    }
}

fn entry(name: &ModelName) -> Entry {
    Entry {
        name: name.clone(),
        origin: Origin::Imported,
        description: Description {
            capabilities: Vec::new(),
            model_format: "gguf".to_owned(),
            model_family: "llama".to_owned(),
            file_type: "F32".to_owned(),
            parameters: 1,
            context_length: 1,
            has_chat_template: false,
            created_at: 0,
        },
        size_bytes: 1,
        digest: Digest::of(b""),
    }
}

#[tokio::test]
async fn many_askers_share_one_pull_and_all_hear_its_end() {
    let mut fixture = Fixture::new(2, 2);
    let mut first = fixture.start("qwen3", false).await.unwrap();
    let job = fixture.begun.recv().await.unwrap();
    let digest = Some(Digest::of(b"x"));
    let half = PullProgress { stage: PullStage::Fetching, digest, total: 10, completed: 5 };
    job.report.tell(half);
    let mut second = fixture.start("Qwen3:latest", false).await.unwrap();
    // Whoever comes later begins with the present state.
    assert!(matches!(second.next().await, Some(PullEvent::Progress(seen)) if seen == half));
    assert_eq!(fixture.pulls.list().len(), 1);
    let done = entry(&job.name);
    job.end.send(Ok(done.clone())).unwrap();
    assert_eq!(second.end().await, Ok(done.clone()));
    while let Some(event) = first.next().await {
        if let PullEvent::Done(ended) = event {
            assert_eq!(*ended, done);
        }
    }
    assert!(fixture.begun.try_recv().is_err(), "nothing was begun twice");
    assert!(fixture.pulls.list().is_empty());
}

#[tokio::test]
async fn a_pull_that_nobody_watches_any_more_is_cancelled() {
    let mut fixture = Fixture::new(2, 2);
    let first = fixture.start("a", false).await.unwrap();
    let second = fixture.start("a", false).await.unwrap();
    let job = fixture.begun.recv().await.unwrap();
    drop(first);
    assert!(!job.end.is_closed());
    drop(second);
    let Begun { mut end, .. } = job;
    end.closed().await;
    // A detached one is not.
    drop(fixture.start("b", true).await.unwrap());
    let job = fixture.begun.recv().await.unwrap();
    let watch = fixture.pulls.subscribe("b").unwrap();
    job.end.send(Err(PullError::NotFound("b".to_owned()))).unwrap();
    assert_eq!(watch.end().await, Err(PullError::NotFound("b".to_owned())));
}

#[tokio::test]
async fn a_few_run_a_few_wait_and_the_rest_is_refused() {
    let mut fixture = Fixture::new(1, 1);
    let first = fixture.start("a", false).await.unwrap();
    let mut second = fixture.start("b", false).await.unwrap();
    assert!(matches!(fixture.start("c", false).await, Err(PullError::QueueFull)));
    let job = fixture.begun.recv().await.unwrap();
    assert!(fixture.begun.try_recv().is_err(), "one at a time");
    let waiting = second.next().await;
    assert!(matches!(waiting, Some(PullEvent::Progress(p)) if p.stage == PullStage::Waiting));
    job.end.send(Ok(entry(&job.name))).unwrap();
    first.end().await.unwrap();
    assert_eq!(fixture.begun.recv().await.unwrap().name.to_string(), "b");
    assert!(fixture.pulls.cancel("B"));
    assert_eq!(second.end().await, Err(PullError::Cancelled));
    assert!(!fixture.pulls.cancel("b"));
}

#[tokio::test]
async fn detached_pulls_go_on_after_a_restart_and_ended_ones_do_not() {
    let mut fixture = Fixture::new(1, 8);
    for name in ["ended", "cancelled", "running", "waiting"] {
        drop(fixture.start(name, true).await.unwrap());
    }
    drop(fixture.start("attached", false).await);
    let ended = fixture.pulls.subscribe("ended").unwrap();
    let job = fixture.begun.recv().await.unwrap();
    job.end.send(Ok(entry(&job.name))).unwrap();
    ended.end().await.unwrap();
    let cancelled = fixture.pulls.subscribe("cancelled").unwrap();
    fixture.pulls.cancel("cancelled");
    assert_eq!(cancelled.end().await, Err(PullError::Cancelled));
    let running = fixture.pulls.subscribe("running").unwrap();
    fixture.pulls.close().await;
    assert_eq!(running.end().await, Err(PullError::Stopping));
    assert!(matches!(fixture.start("late", true).await, Err(PullError::Stopping)));

    let fixture = Fixture::over(fixture.folder, 1, 8);
    fixture.pulls.resume().await;
    let names: Vec<_> = fixture.pulls.list().iter().map(|pull| pull.name.to_string()).collect();
    assert_eq!(names, ["running", "waiting"]);
}
