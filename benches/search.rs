//! Search over what one person has said: rare and common words of both kinds of script.
//!
//! `cargo run --release -p hearth-store --example bench-search -- [CHATS]`; 400 chats of a hundred
//! messages without a number. Each message has 80 words of nine, and as many numbers.

use std::time::{Duration, Instant};

use hearth_store::{
    ChatId, ImportedChat, MessageId, MessageRole, MessageStatus, NewChat, NewMessage, NewUser,
    Store, UserRole,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Of one chat.
const MESSAGES: usize = 100;
/// Each is in nearly every message.
const WORDS: [&str; 9] =
    ["engine", "token", "cache", "模型", "服务器", "天气", "answer", "prompt", "page"];
/// What is asked, from rare to common.
const QUESTIONS: [&str; 9] =
    ["absent", "needle", "捞针", "engine", "模型", "天", "e", "token cache", "token cache 12"];
/// Times that each question is asked; the median and the slowest count.
const ROUNDS: usize = 21;

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn main() -> Result<(), Failure> {
    let chats: usize = std::env::args().nth(1).map_or(Ok(400), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(dir.path())?;
        let new = NewUser {
            name: "ann".to_owned(),
            password: String::new(),
            role: UserRole::User,
            created_at: 1,
        };
        let owner = store.users().create(new).await?.id;
        for number in 0..chats {
            store.messages().import(owner, chat(number)).await?;
        }
        println!("{} messages", chats * MESSAGES);
        for question in QUESTIONS {
            let mut times: Vec<Duration> = Vec::with_capacity(ROUNDS);
            let mut found = 0;
            for _ in 0..ROUNDS {
                let began = Instant::now();
                found = store.messages().search(owner, question.to_owned(), 30).await?.len();
                times.push(began.elapsed());
            }
            times.sort();
            let (median, slowest) = (times[ROUNDS / 2], times[ROUNDS - 1]);
            println!("{question}: {median:.1?}, slowest {slowest:.1?}, {found} chats");
        }
        Ok(())
    })
}

fn chat(number: usize) -> ImportedChat {
    let messages: Vec<NewMessage> = (0..MESSAGES)
        .map(|place| NewMessage {
            id: MessageId(format!("c{number}-{place}")),
            parent_id: None,
            role: MessageRole::User,
            content: text(number, place),
            reasoning: None,
            files: Vec::new(),
            model: None,
            status: MessageStatus::Complete,
            created_at: place as i64,
        })
        .collect();
    ImportedChat {
        chat: NewChat {
            id: ChatId(format!("c{number}")),
            title: format!("Chat {number}"),
            model: None,
            created_at: 1,
        },
        current: messages.last().map(|message| message.id.clone()),
        messages,
        folder: None,
        is_pinned: false,
        is_archived: false,
        updated_at: 1,
    }
}

fn text(number: usize, place: usize) -> String {
    let mut seed = number * 7_919 + place * 104_729;
    let mut text = String::new();
    for _ in 0..80 {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        text.push_str(WORDS[seed / 65_536 % WORDS.len()]);
        text.push_str(&format!(" {} ", seed / 4_096 % 9_973));
    }
    match (number, place) {
        (7, 3) => text + "needle 大海捞针",
        _ => text,
    }
}
