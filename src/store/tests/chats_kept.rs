//! Where chats are kept and how they are read: folders, links, windows, deleted messages, imports.

use super::Fixture;
use crate::{
    Audience, Chat, ChatChange, ChatId, ChatView, Error, FolderId, ImportedChat, MessageFile,
    MessageId, MessageRole, MessageStatus, NewChat, NewMessage, NewShare, NewShelfItem, ShareId,
    ShelfId, ShelfKind, User, UserRole,
};

fn message(number: usize, parent: Option<usize>) -> NewMessage {
    let name = |number: usize| MessageId(format!("m{number:04}"));
    let is_question = number.is_multiple_of(2);
    NewMessage {
        id: name(number),
        parent_id: parent.map(name),
        role: if is_question { MessageRole::User } else { MessageRole::Assistant },
        content: format!("message {number}"),
        reasoning: None,
        files: Vec::new(),
        model: None,
        status: MessageStatus::Complete,
        created_at: number as i64,
    }
}

/// A chat of this many messages in one line.
pub(super) async fn line(it: &Fixture, owner: &User, id: &str, count: usize) -> Chat {
    let messages: Vec<NewMessage> =
        (0..count).map(|number| message(number, number.checked_sub(1))).collect();
    let imported = ImportedChat {
        chat: NewChat {
            id: ChatId(id.to_owned()),
            title: id.to_owned(),
            model: None,
            created_at: 1,
        },
        current: messages.last().map(|message| message.id.clone()),
        messages,
        folder: None,
        is_pinned: false,
        is_archived: false,
        updated_at: 9,
    };
    it.store.messages().import(owner.id, imported).await.unwrap()
}

async fn titles(it: &Fixture, owner: &User, view: ChatView) -> Vec<String> {
    let (chats, _) = it.store.chats().list(owner.id, view, None, 10).await.unwrap();
    chats.into_iter().map(|chat| chat.title).collect()
}

#[tokio::test]
async fn each_view_lists_its_chats_and_a_folder_leaves_them_behind() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let other = it.user("o", UserRole::User).await;
    let chats = it.store.chats();
    let folder = FolderId("f".to_owned());
    chats.add_folder(user.id, folder.clone(), "Work".to_owned(), 1).await.unwrap();
    for id in ["loose", "pinned", "kept", "away"] {
        let new =
            NewChat { id: ChatId(id.to_owned()), title: id.to_owned(), model: None, created_at: 1 };
        chats.create(user.id, new).await.unwrap();
    }
    let change = async |id: &str, change| {
        chats.update(user.id, &ChatId(id.to_owned()), change).await.unwrap();
    };
    change("pinned", ChatChange { is_pinned: Some(true), ..ChatChange::default() }).await;
    let kept = ChatChange { folder_id: Some(Some(folder.clone())), ..ChatChange::default() };
    change("kept", kept.clone()).await;
    change("away", ChatChange { is_archived: Some(true), ..ChatChange::default() }).await;
    assert_eq!(titles(&it, &user, ChatView::Loose).await, ["loose"]);
    assert_eq!(titles(&it, &user, ChatView::Pinned).await, ["pinned"]);
    assert_eq!(titles(&it, &user, ChatView::Archived).await, ["away"]);
    assert_eq!(titles(&it, &user, ChatView::Folder(folder.clone())).await, ["kept"]);
    assert_eq!(titles(&it, &user, ChatView::All).await, ["pinned", "loose", "kept"]);
    assert_eq!(chats.folders(user.id).await.unwrap()[0].chats, 1);
    assert!(titles(&it, &other, ChatView::Folder(folder.clone())).await.is_empty());

    let mine = line(&it, &other, "mine", 2).await;
    let stolen = chats.update(other.id, &mine.id, kept).await;
    assert!(matches!(stolen, Err(Error::NotFound)), "a foreign folder takes nothing");
    assert!(matches!(
        chats.rename_folder(other.id, folder.clone(), "x".to_owned()).await,
        Err(Error::NotFound)
    ));
    assert!(matches!(chats.delete_folder(other.id, folder.clone()).await, Err(Error::NotFound)));
    chats.delete_folder(user.id, folder).await.unwrap();
    assert_eq!(titles(&it, &user, ChatView::Loose).await, ["loose", "kept"]);
}

#[tokio::test]
async fn a_window_shows_the_end_and_goes_up_from_there() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let chat = line(&it, &user, "c", 1_000).await;
    let messages = it.store.messages();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let window = messages.window(user.id, &chat.id, before, 150).await.unwrap();
        let first = window.messages[0].id.clone();
        seen.splice(0..0, window.messages.into_iter().map(|message| message.id.0));
        if !window.has_earlier {
            break;
        }
        before = Some(first);
    }
    let all: Vec<String> = (0..1_000).map(|number| format!("m{number:04}")).collect();
    assert_eq!(seen, all);

    let mut long = message(1_000, Some(999));
    long.content = "x".repeat(60_000);
    let change = crate::TurnStart {
        chat_id: chat.id.clone(),
        question: Some(long),
        answer: NewMessage { content: "short".to_owned(), ..message(1_001, Some(1_000)) },
        continues: false,
        is_beside: false,
        title_if_empty: None,
    };
    messages.start_turn(user.id, change).await.unwrap();
    let window = messages.window(user.id, &chat.id, None, 40).await.unwrap();
    assert_eq!(window.messages.len(), 2, "long messages make a window of few");
    assert!(window.has_earlier);
}

#[tokio::test]
async fn versions_of_a_message_are_told_and_a_branch_lands_at_its_newest_end() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let chat = line(&it, &user, "c", 4).await;
    let beside = crate::TurnStart {
        chat_id: chat.id.clone(),
        question: None,
        answer: message(5, Some(0)),
        continues: false,
        is_beside: false,
        title_if_empty: None,
    };
    let messages = it.store.messages();
    messages.start_turn(user.id, beside).await.unwrap();
    let window = messages.window(user.id, &chat.id, None, 40).await.unwrap();
    let ids: Vec<&str> = window.messages.iter().map(|message| message.id.0.as_str()).collect();
    assert_eq!(ids, ["m0000", "m0005"]);
    let versions: Vec<&str> =
        window.messages[1].versions.iter().map(|version| version.0.as_str()).collect();
    assert_eq!(versions, ["m0001", "m0005"]);
    assert!(window.messages[0].versions.is_empty());
    let from = MessageId("m0001".to_owned());
    let leaf = messages.newest_leaf(user.id, &chat.id, from).await.unwrap();
    assert_eq!(leaf.0, "m0003");
}

#[tokio::test]
async fn a_deleted_message_leaves_its_followers_and_the_chat_on_its_feet() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let chat = line(&it, &user, "c", 4).await;
    let messages = it.store.messages();
    let id = |name: &str| MessageId(name.to_owned());
    messages.delete(user.id, &chat.id, &id("m0001")).await.unwrap();
    let branch = messages.branch(user.id, &chat.id, &id("m0003")).await.unwrap();
    let ids: Vec<&str> = branch.iter().map(|message| message.id.0.as_str()).collect();
    assert_eq!(ids, ["m0000", "m0002", "m0003"]);
    let chat = messages.delete(user.id, &chat.id, &id("m0003")).await.unwrap();
    assert_eq!(chat.current_message_id, Some(id("m0002")));
    let gone = messages.delete(user.id, &chat.id, &id("m0003")).await;
    assert!(matches!(gone, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_link_shows_the_branch_of_its_time_to_those_it_is_for() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let other = it.user("o", UserRole::Admin).await;
    let chat = line(&it, &user, "c", 2).await;
    let chats = it.store.chats();
    let link = ShareId("secret".to_owned());
    let new = |id: &str, is_open| NewShare { id: ShareId(id.to_owned()), is_open, created_at: 1 };
    assert!(matches!(
        chats.share(other.id, &chat.id, new("secret", true)).await,
        Err(Error::NotFound)
    ));
    chats.share(user.id, &chat.id, new("secret", false)).await.unwrap();
    assert_eq!(chats.shared(link.clone(), false).await.unwrap().1.len(), 2);
    assert!(matches!(chats.shared(link.clone(), true).await, Err(Error::NotFound)));
    let share = chats.share(user.id, &chat.id, new("another", true)).await.unwrap();
    assert_eq!(share.id, link, "the link stays the same");
    assert_eq!(chats.shared(link.clone(), true).await.unwrap().1.len(), 2);
    chats.unshare(user.id, &chat.id).await.unwrap();
    assert!(matches!(chats.shared(link, false).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn an_import_is_whole_or_not_at_all_and_keeps_files_and_folder() {
    let it = Fixture::new();
    let user = it.user("u", UserRole::User).await;
    let mut first = message(0, None);
    first.files = vec![MessageFile { name: "a.txt".to_owned(), bytes: 4, text: "text".to_owned() }];
    let imported = ImportedChat {
        chat: NewChat {
            id: ChatId("c".to_owned()),
            title: "From elsewhere".to_owned(),
            model: None,
            created_at: 1,
        },
        messages: vec![first, message(1, Some(0))],
        current: Some(MessageId("m0001".to_owned())),
        folder: Some((FolderId("f1".to_owned()), "Old".to_owned())),
        is_pinned: true,
        is_archived: false,
        updated_at: 77,
    };
    let mut broken = imported.clone();
    broken.messages[1].parent_id = Some(MessageId("nobody".to_owned()));
    assert!(it.store.messages().import(user.id, broken).await.is_err());
    assert!(titles(&it, &user, ChatView::All).await.is_empty());

    let chat = it.store.messages().import(user.id, imported.clone()).await.unwrap();
    assert_eq!((chat.updated_at, chat.is_pinned), (77, true));
    let list = it.store.messages().list(user.id, &chat.id).await.unwrap();
    assert_eq!(list[0].files[0].text, "text");
    assert_eq!(serde_json::to_value(&list[0]).unwrap()["files"][0].get("text"), None);
    let mut second = imported;
    second.chat.id = ChatId("d".to_owned());
    second.messages.clear();
    second.current = None;
    second.folder = Some((FolderId("f2".to_owned()), "Old".to_owned()));
    it.store.messages().import(user.id, second).await.unwrap();
    let folders = it.store.chats().folders(user.id).await.unwrap();
    assert_eq!((folders.len(), folders[0].chats), (1, 2), "one folder of that name");
}

#[tokio::test]
async fn shelf_items_are_seen_by_their_audience_and_changed_by_their_owner() {
    let it = Fixture::new();
    let owner = it.user("owner", UserRole::Admin).await;
    let reader = it.user("reader", UserRole::User).await;
    let item = |id: &str, name: &str, audience| NewShelfItem {
        id: ShelfId(id.to_owned()),
        kind: ShelfKind::Prompt,
        name: name.to_owned(),
        body: serde_json::json!({ "text": "Say it shorter." }),
        audience,
        group_id: None,
        created_at: 5,
    };
    let shelf = it.store.shelf();
    shelf.add(owner.id, item("1", "mine", Audience::Me)).await.unwrap();
    shelf.add(owner.id, item("2", "shorter", Audience::All)).await.unwrap();
    let taken = shelf.add(owner.id, item("3", "shorter", Audience::Me)).await;
    assert!(matches!(taken, Err(Error::NameTaken)));
    let seen = shelf.list(reader.id).await.unwrap();
    assert_eq!((seen.len(), seen[0].name.as_str(), seen[0].is_mine), (1, "shorter", false));
    let stolen = shelf.update(reader.id, item("2", "longer", Audience::Me)).await;
    assert!(matches!(stolen, Err(Error::NotFound)));
    assert!(matches!(shelf.delete(reader.id, ShelfId("2".to_owned())).await, Err(Error::NotFound)));
    shelf.update(owner.id, item("2", "longer", Audience::Me)).await.unwrap();
    assert!(shelf.list(reader.id).await.unwrap().is_empty());
}
