//! Chats and messages: owners, branches, limits.

use super::Fixture;
use crate::{
    Chat, ChatChange, ChatCursor, ChatId, ChatView, Error, MessageEnd, MessageId, MessageRole,
    MessageStatus, MessageUsage, NewChat, NewMessage, TurnStart, User, UserRole,
};

fn chat_id(name: &str) -> ChatId {
    ChatId(name.to_owned())
}

fn message(id: &str, parent: Option<&str>, role: MessageRole, content: &str) -> NewMessage {
    NewMessage {
        id: MessageId(id.to_owned()),
        parent_id: parent.map(|id| MessageId(id.to_owned())),
        role,
        content: content.to_owned(),
        reasoning: None,
        files: Vec::new(),
        model: Some("m".to_owned()),
        status: MessageStatus::Stopped,
        created_at: 200,
    }
}

fn turn(chat: &str, question: Option<NewMessage>, answer: NewMessage) -> TurnStart {
    TurnStart {
        chat_id: chat_id(chat),
        question,
        answer,
        continues: false,
        is_beside: false,
        title_if_empty: Some("First words".to_owned()),
    }
}

fn end(id: &str, content: &str, ended_at: i64) -> MessageEnd {
    MessageEnd {
        id: MessageId(id.to_owned()),
        request_id: "r".to_owned(),
        content: content.to_owned(),
        reasoning: None,
        reasoning_ms: None,
        calls: Vec::new(),
        channel_id: None,
        status: MessageStatus::Complete,
        finish_reason: None,
        usage: None,
        error: None,
        ended_at,
    }
}

async fn make_chat(it: &Fixture, owner: &User, id: &str, created_at: i64) -> Chat {
    let new = NewChat { id: chat_id(id), title: String::new(), model: None, created_at };
    it.store.chats().create(owner.id, new).await.unwrap()
}

#[tokio::test]
async fn a_turn_is_stored_and_finished() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    make_chat(&it, &user, "c", 100).await;
    let question = message("q1", None, MessageRole::User, "hello");
    let answer = message("a1", Some("q1"), MessageRole::Assistant, "");
    let messages = it.store.messages();
    let chat = messages.start_turn(user.id, turn("c", Some(question), answer)).await.unwrap();
    assert_eq!(chat.title, "First words");
    assert_eq!(chat.current_message_id, Some(MessageId("a1".to_owned())));
    assert_eq!((chat.model.as_deref(), chat.updated_at), (Some("m"), 200));
    let end = MessageEnd {
        finish_reason: Some("stop".to_owned()),
        usage: Some(MessageUsage {
            prompt_tokens: 5,
            completion_tokens: 2,
            cached_tokens: 4,
            cost: None,
            queue_ms: 1,
            first_token_ms: 10,
            total_ms: 20,
        }),
        ..end("a1", "hello yourself", 300)
    };
    let (answer, chat) = messages.finish(user.id, &chat.id, end.clone()).await.unwrap();
    assert_eq!((answer.content.as_str(), answer.usage), ("hello yourself", end.usage));
    assert_eq!(chat.updated_at, 300);
    let sibling = message("a2", Some("q1"), MessageRole::Assistant, "");
    messages.start_turn(user.id, turn("c", None, sibling)).await.unwrap();
    let all = messages.list(user.id, &chat.id).await.unwrap();
    let ids: Vec<&str> = all.iter().map(|message| message.id.0.as_str()).collect();
    assert_eq!(ids, ["a1", "a2", "q1"], "same second: by id");
    let branch = messages.branch(user.id, &chat.id, &MessageId("a2".to_owned())).await.unwrap();
    let ids: Vec<&str> = branch.iter().map(|message| message.id.0.as_str()).collect();
    assert_eq!(ids, ["q1", "a2"]);
    it.store.chats().delete(user.id, &chat.id).await.unwrap();
    let gone = messages.finish(user.id, &chat.id, end).await;
    assert!(matches!(gone, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_foreign_owner_sees_and_changes_nothing() {
    let it = Fixture::new();
    let owner = it.user("owner", UserRole::User).await;
    // An admin is no owner.
    let thief = it.user("thief", UserRole::Admin).await;
    let chat = make_chat(&it, &owner, "c", 100).await;
    let question = message("q", None, MessageRole::User, "secret");
    let answer = message("a", Some("q"), MessageRole::Assistant, "");
    let messages = it.store.messages();
    messages.start_turn(owner.id, turn("c", Some(question), answer)).await.unwrap();
    let chats = it.store.chats();
    let (id, answer_id) = (&chat.id, MessageId("a".to_owned()));
    let end = end("a", "forged", 1);
    let forged = turn("c", None, message("x", Some("q"), MessageRole::Assistant, ""));
    let change = ChatChange { title: Some("mine".to_owned()), ..ChatChange::default() };
    let refusals = [
        chats.get(thief.id, id).await.err(),
        chats.update(thief.id, id, change).await.err(),
        chats.delete(thief.id, id).await.err(),
        messages.list(thief.id, id).await.err(),
        messages.get(thief.id, id, &answer_id).await.err(),
        messages.branch(thief.id, id, &answer_id).await.err(),
        messages.start_turn(thief.id, forged).await.err(),
        messages.finish(thief.id, id, end).await.err(),
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        assert!(matches!(refusal, Some(Error::NotFound)), "{number}: {refusal:?}");
    }
    assert!(chats.list(thief.id, ChatView::All, None, 10).await.unwrap().0.is_empty());
    let all = messages.list(owner.id, id).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|message| message.content != "forged"));
    assert_eq!(chats.get(owner.id, id).await.unwrap().title, "First words");
}

#[tokio::test]
async fn messages_of_another_chat_cannot_be_parent_or_current() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let one = make_chat(&it, &user, "one", 100).await;
    make_chat(&it, &user, "two", 100).await;
    let messages = it.store.messages();
    let root = message("q", None, MessageRole::User, "x");
    messages.start_turn(user.id, turn("two", None, root)).await.unwrap();
    let crossed = turn("one", None, message("a", Some("q"), MessageRole::Assistant, ""));
    assert!(matches!(messages.start_turn(user.id, crossed).await, Err(Error::NotFound)));
    let change =
        ChatChange { current_message_id: Some(MessageId("q".to_owned())), ..ChatChange::default() };
    let refused = it.store.chats().update(user.id, &one.id, change).await;
    assert!(matches!(refused, Err(Error::NotFound)));
    assert!(messages.list(user.id, &one.id).await.unwrap().is_empty());
    // The refused turn did not count towards the chat's limits either.
    let count: i64 = it
        .store
        .read(|connection| {
            let statement = "SELECT message_count FROM chats WHERE id = 'one'";
            Ok(connection.query_row(statement, [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(count, 0);
}

#[tokio::test]
async fn a_chat_has_a_size_limit() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let chat = make_chat(&it, &user, "c", 100).await;
    let half = "x".repeat((16 << 20) + 1);
    let messages = it.store.messages();
    let first = message("m1", None, MessageRole::User, &half);
    messages.start_turn(user.id, turn("c", None, first)).await.unwrap();
    let second = message("m2", Some("m1"), MessageRole::User, &half);
    let full = messages.start_turn(user.id, turn("c", None, second)).await;
    assert!(matches!(full, Err(Error::ChatFull { .. })));
    assert_eq!(messages.list(user.id, &chat.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn chats_are_paged_newest_first() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    for (id, created_at) in [("a", 1), ("b", 3), ("c", 3), ("d", 2), ("e", 9)] {
        make_chat(&it, &user, id, created_at).await;
    }
    let mut seen = Vec::new();
    let mut before: Option<ChatCursor> = None;
    loop {
        let (chats, next) = it.store.chats().list(user.id, ChatView::All, before, 2).await.unwrap();
        seen.extend(chats.into_iter().map(|chat| chat.id.0));
        // The cursor makes the way through a client's hands.
        let Some(cursor) = next else { break };
        before = Some(cursor.to_string().parse().unwrap());
    }
    assert_eq!(seen, ["e", "c", "b", "d", "a"]);
    for bad in ["", ".", "x.y", "12", "12."] {
        assert!(bad.parse::<ChatCursor>().is_err(), "{bad}");
    }
}
