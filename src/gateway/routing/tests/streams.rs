//! Streams: however they are cut, no faster than they are read, and gone when nobody reads.

use super::upstream::{Reply, answer, chunk, event};
use super::*;

/// Everything that the pieces say, cut anew.
fn recut(pieces: &[Vec<u8>], size: usize) -> Vec<Vec<u8>> {
    pieces.concat().chunks(size).map(<[u8]>::to_vec).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_characters_other_line_ends_and_comments_change_nothing() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    let texts = ["né", "漢字", "🦀🔥", "end"];
    let plain = answer(&texts, true);
    let crlf: Vec<Vec<u8>> = plain
        .iter()
        .map(|piece| String::from_utf8(piece.clone()).unwrap().replace('\n', "\r\n").into_bytes())
        .collect();
    let mut commented = vec![b": hello\n\n".to_vec(), b"event: message\nid: 7\n".to_vec()];
    commented.extend(plain.iter().flat_map(|piece| [b": ping\n\n".to_vec(), piece.clone()]));
    for pieces in [plain.clone(), recut(&plain, 1), recut(&crlf, 3), crlf, commented] {
        one.then(Reply::Stream(pieces));
        let said = it.say("m").await;
        assert_eq!((said.text, said.error), (texts.concat(), None));
        assert_eq!(said.usage.unwrap().completion_tokens, 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_giant_lines_are_failures_and_not_memory() {
    let it = Fixture::new();
    let (one, two) = (Upstream::new("one").await, Upstream::new("two").await);
    it.channel("one", &one.base_url, json!({ "priority": 1 })).await;
    it.channel("two", &two.base_url, json!({})).await;
    let giant = vec![b"data: ".to_vec(), vec![b'x'; 10 << 20], b"\n\n".to_vec()];
    let garbage = vec![vec![0xff, 0xfe, 0x00, b'\n', b'\n'], b"<html>no</html>\n\n".to_vec()];
    let nothing = vec![b": only comments\n\n".to_vec()];
    for pieces in [giant, garbage, nothing, vec![b"data: 17\n\n".to_vec()]] {
        one.then(Reply::Stream(pieces));
        let said = it.say("m").await;
        assert_eq!((said.text.as_str(), said.error), ("two", None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_cannot_put_events_of_its_own_into_our_stream() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    let text = "a\n\ndata: {\"choices\":[]}\n\nevent: x\r\n\r\n";
    one.then(Reply::Stream(answer(&[text], true)));
    assert_eq!(it.say("m").await.text, text, "it is text and stays text");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_ends_the_upstream_at_once() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let channel = it.channel("one", &one.base_url, json!({})).await;
    one.then(Reply::Hang(vec![chunk("word")]));
    let mut stream = it.ask("m").await.unwrap();
    while !matches!(stream.recv().await, Some(Ok(Event::Text { .. }))) {}
    drop(stream);
    one.wait_for_gone(1).await;
    // Also before the answer has begun.
    one.then(Reply::Silence);
    let asking = it.ask("m");
    assert!(tokio::time::timeout(Duration::from_millis(100), asking).await.is_err());
    one.wait_for_gone(2).await;
    while it.show(channel.id).stats.unwrap().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(it.show(channel.id).stats.unwrap().all.failures, 0, "the provider is not to blame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_bills_anyway_is_read_to_its_end() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    let change = json!({ "settings": { "drain_s": 10 } });
    let channel = it.channel("one", &one.base_url, change).await;
    let texts = vec!["x"; 2000];
    one.then(Reply::Stream(answer(&texts, true)));
    let mut stream = it.ask("m").await.unwrap();
    while !matches!(stream.recv().await, Some(Ok(Event::Text { .. }))) {}
    drop(stream);
    while it.show(channel.id).stats.unwrap().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let stats = it.show(channel.id).stats.unwrap().all;
    assert_eq!((stats.prompt_tokens, stats.completion_tokens), (11, 7), "the provider's counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_writes_no_faster_than_its_answer_is_read() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    one.then(Reply::Flood);
    let mut stream = it.ask("m").await.unwrap();
    one.wait_for_written(64 << 10).await;
    // Nobody reads: what is on its way is what sockets and queues hold.
    let mut before = 0;
    while one.written() > before {
        before = one.written();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before < 24 << 20, "{before} bytes are under way");
    let mut read = 0;
    while read < before + (1 << 20) {
        if let Event::Text { text, .. } = stream.recv().await.unwrap().unwrap() {
            read += text.len();
        }
    }
    drop(stream);
    one.wait_for_gone(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_says_nothing_yet_does_not_hold_the_answer_back_for_ever() {
    let it = Fixture::new();
    let one = Upstream::new("one").await;
    it.channel("one", &one.base_url, json!({})).await;
    let role = event(&json!({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "" } }],
    }));
    let mut pieces = vec![role];
    pieces.extend(answer(&["late"], true));
    one.then(Reply::Stream(pieces));
    assert_eq!(it.say("m").await.text, "late");
}
