//! Models that are made: their templates, smaller weights, gaps to fill, and recipes that make the
//! same again.

use axum::http::{Method, StatusCode};
use clap::Parser;
use hearth_formats::gguf::{Header, TensorInfo};
use hearth_hub::Modelfile;
use serde_json::{Value, json};

use crate::story::{Story, models};

async fn call(story: &Story, path: &str, body: Value) -> Value {
    let (status, answer) = story.call(path, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// The lines of a creation.
async fn create(story: &Story, body: Value) -> Vec<Value> {
    let text = story.text(Method::POST, "/api/create", body).await;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn options() -> Value {
    json!({ "temperature": 0, "num_predict": 12 })
}

/// What the model says to a prompt that it gets as it is.
async fn raw(story: &Story, prompt: &str) -> (Value, Value) {
    let body = json!({
        "model": "stories260k", "prompt": prompt, "raw": true, "stream": false,
        "options": options(),
    });
    let answer = call(story, "/api/generate", body).await;
    (answer["response"].clone(), answer["prompt_eval_count"].clone())
}

const TEMPLATE: &str = "{{ if .System }}({{ .System }}) {{ end }}\
    {{ range .Messages }}{{ if ne .Role \"system\" }}[{{ .Role }}] {{ .Content }}\n{{ end }}{{ end }}";

#[tokio::test(flavor = "multi_thread")]
async fn a_models_template_is_what_it_is_asked_by_in_every_dialect() {
    let story = Story::begin().await;
    let made = json!({ "model": "asked", "from": "stories260k", "template": TEMPLATE,
        "system": "Be kind." });
    let lines = create(&story, made).await;
    assert_eq!(lines[0]["status"], "parsing GGUF");
    assert_eq!(lines[lines.len() - 2]["status"], "writing manifest");
    assert_eq!(lines[lines.len() - 1], json!({ "status": "success" }));
    let (wanted, count) = raw(&story, "(Be kind.) [user] Once upon\n").await;
    let messages = json!([{ "role": "user", "content": "Once upon" }]);
    let body =
        json!({ "model": "asked", "messages": messages, "stream": false, "options": options() });
    let answer = call(&story, "/api/chat", body).await;
    let said = (&answer["message"]["content"], &answer["prompt_eval_count"]);
    assert_eq!(said, (&wanted, &count));
    let body =
        json!({ "model": "asked", "messages": messages, "temperature": 0, "max_tokens": 12 });
    let answer = call(&story, "/v1/chat/completions", body).await;
    assert_eq!(answer["choices"][0]["message"]["content"], wanted);
    let body =
        json!({ "model": "asked", "prompt": "Once upon", "stream": false, "options": options() });
    assert_eq!(call(&story, "/api/generate", body.clone()).await["response"], wanted);
    // A request may bring its own.
    let mut own = body;
    own["template"] = json!("Q: {{ .Prompt }} A: ");
    let (wanted, count) = raw(&story, "Q: Once upon A: ").await;
    let answer = call(&story, "/api/generate", own).await;
    assert_eq!((&answer["response"], &answer["prompt_eval_count"]), (&wanted, &count));
    let shown = call(&story, "/api/show", json!({ "model": "asked" })).await;
    assert_eq!(shown["template"], TEMPLATE);
    // What is asked can be seen without an answer.
    let body = json!({ "model": "asked", "messages": messages, "_debug_render_only": true });
    let seen = call(&story, "/api/chat", body).await;
    let expected =
        json!({ "rendered_template": "(Be kind.) [user] Once upon\n", "image_count": 0 });
    assert_eq!(seen["_debug_info"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_with_a_place_for_tools_is_given_them() {
    let story = Story::begin().await;
    let template = "{{ range .Tools }}{{ .Function.Name }} {{ .Function.Parameters }}\n{{ end }}\
        {{ range .Messages }}{{ .Content }}{{ range .ToolCalls }}<tool_call>\
        {\"name\": \"{{ .Function.Name }}\", \"arguments\": {{ .Function.Arguments }}}</tool_call>\
        {{ end }}{{ end }}";
    let made = json!({ "model": "caller", "from": "stories260k", "template": template });
    create(&story, made).await;
    let shown = call(&story, "/api/show", json!({ "model": "caller" })).await;
    assert!(shown["capabilities"].as_array().unwrap().contains(&json!("tools")), "{shown}");
    let parameters = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    let tool = json!({ "type": "function",
        "function": { "name": "add", "parameters": parameters } });
    let chat = |model: &str| {
        json!({ "model": model, "stream": false, "options": options(), "tools": [tool],
            "messages": [{ "role": "user", "content": "Once" }] })
    };
    let rendered = "add {\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}\nOnce";
    let (_, count) = raw(&story, rendered).await;
    assert_eq!(call(&story, "/api/chat", chat("caller")).await["prompt_eval_count"], count);
    let (status, answer) = story.call("/api/chat", chat("stories260k")).await;
    let words = "registry.ollama.ai/library/stories260k:latest does not support tools";
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!(words)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_filled_by_the_template_or_refused_in_ollamas_words() {
    let story = Story::begin().await;
    let gap = |model: &str| {
        json!({ "model": model, "prompt": "Once", "suffix": "the end", "stream": false,
            "temperature": 0, "max_tokens": 12, "options": options() })
    };
    let (status, answer) = story.call("/api/generate", gap("stories260k")).await;
    let words = "registry.ollama.ai/library/stories260k:latest does not support insert";
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!(words)));
    let (status, answer) = story.call("/v1/completions", gap("stories260k")).await;
    assert_eq!((status, &answer["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("suffix")));
    let template =
        "{{ if .Suffix }}<P>{{ .Prompt }}<S>{{ .Suffix }}<M>{{ else }}{{ .Prompt }}{{ end }}";
    create(&story, json!({ "model": "filler", "from": "stories260k", "template": template })).await;
    let (wanted, count) = raw(&story, "<P>Once<S>the end<M>").await;
    let answer = call(&story, "/api/generate", gap("filler")).await;
    assert_eq!((&answer["response"], &answer["prompt_eval_count"]), (&wanted, &count));
    let answer = call(&story, "/v1/completions", gap("filler")).await;
    assert_eq!(answer["choices"][0]["text"], wanted);
    let shown = call(&story, "/api/show", json!({ "model": "filler" })).await;
    assert!(shown["capabilities"].as_array().unwrap().contains(&json!("insert")), "{shown}");
    let mut tokens = gap("filler");
    tokens["prompt"] = json!([1, 2]);
    assert_eq!(story.call("/v1/completions", tokens).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_with_a_status_and_leaves_nothing() {
    let story = Story::begin().await;
    let hf = story.import(&models().join("hf"), "folder").await;
    assert!(hf.contains("event: imported"), "{hf}");
    let q8 = story.import(&models().join("stories260K-q8_0.gguf"), "small").await;
    assert!(q8.contains("event: imported"), "{q8}");
    let blobs = story.folder.path().join("data/models/blobs");
    let count = || std::fs::read_dir(&blobs).unwrap().count();
    let before = count();
    let from = |base: &str, change: Value| {
        let mut body = json!({ "model": "x", "from": base });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    for (body, words) in [
        (from("stories260k", json!({ "template": "{{ if }}" })), "template error: "),
        (
            from("stories260k", json!({ "template": "{{ if .A }}" })),
            "template error: unexpected EOF",
        ),
        (from("stories260k", json!({ "template": "{{ exec 1 }}" })), "template error: function"),
        (from("stories260k", json!({ "quantize": "q9" })), "unsupported quantization type q9"),
        (from("small", json!({ "quantize": "q4_K_M" })), "quantization is only supported for F16"),
        (
            from("small", json!({ "draft_files": { "a": "b" } })),
            "draft models are not kept in a model",
        ),
        (from("small", json!({ "adapters": { "a": "b" } })), "adapters are not supported"),
        (from("small", json!({ "system": "x".repeat(2 << 20) })), "a text of the model"),
    ] {
        let (status, answer) = story.call("/api/create", body).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.starts_with(words), "{status}: {answer}");
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
    assert_eq!(count(), before);
    assert_eq!(story.call("/api/show", json!({ "model": "x" })).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_bomb_costs_one_request_some_seconds_and_nothing_more() {
    let story = Story::begin().await;
    let laughs: String = (0..40)
        .map(|at| {
            let next = format!("{{{{ template \"l{}\" }}}}", at + 1);
            format!("{{{{ define \"l{at}\" }}}}{next}{next}{{{{ end }}}}")
        })
        .collect();
    let bomb = format!("{laughs}{{{{ define \"l40\" }}}}ha{{{{ end }}}}{{{{ template \"l0\" }}}}");
    create(&story, json!({ "model": "bomb", "from": "stories260k", "template": bomb })).await;
    let chat = |model: &str| {
        json!({ "model": model, "messages": [{ "role": "user", "content": "Once" }],
            "stream": false, "options": options() })
    };
    let begun = std::time::Instant::now();
    // Twice: no thread of the first is left behind that the second would wait for.
    for _ in 0..2 {
        let (status, answer) = story.call("/api/chat", chat("bomb")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let words = "does too much work or writes too much text";
        assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
    }
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    call(&story, "/api/chat", chat("stories260k")).await;
}

fn read(path: &std::path::Path) -> (Header, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let length = bytes.len() as u64;
    (Header::read(&mut std::io::Cursor::new(&bytes), length).unwrap(), bytes)
}

fn data<'a>(bytes: &'a [u8], tensor: &TensorInfo) -> &'a [u8] {
    &bytes[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize]
}

/// The five likeliest tokens after some words, and how likely.
async fn likeliest(story: &Story, model: &str) -> Vec<(String, f64)> {
    let body = json!({ "model": model, "prompt": "Once upon a time, there was a", "logprobs": 5,
        "max_tokens": 1, "temperature": 0 });
    let answer = call(story, "/v1/completions", body).await;
    let top = answer["choices"][0]["logprobs"]["top_logprobs"][0].as_object().unwrap().clone();
    top.into_iter().map(|(token, logprob)| (token, logprob.as_f64().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn quantised_weights_are_those_that_others_make_and_say_the_same() {
    let story = Story::begin().await;
    let wanted = likeliest(&story, "stories260k").await;
    // The rows of this model fit no block of 256 values: the nearest smaller kinds are taken.
    for (kind, label, tolerance, most_bytes) in [
        ("q8_0", "Q8_0", 0.05, 380_000),
        ("Q4_K_M", "Q4_K_M", 0.6, 310_000),
        ("q4_0", "Q4_0", 0.8, 280_000),
    ] {
        let model = format!("small-{label}");
        let made = json!({ "model": model, "from": "stories260k", "quantize": kind });
        let lines = create(&story, made).await;
        assert_eq!(lines[lines.len() - 1], json!({ "status": "success" }), "{lines:?}");
        let status = format!("quantizing F32 model to {label}");
        let last = lines.iter().rfind(|line| line["status"] == status.as_str()).unwrap();
        assert_eq!(last["completed"], last["total"]);
        let shown = call(&story, "/api/show", json!({ "model": model })).await;
        assert_eq!(shown["details"]["quantization_level"], label);
        let tags = story.get("/api/tags").await;
        let tags = tags["models"].as_array().unwrap();
        let name = format!("{}:latest", model.to_lowercase());
        let size = tags.iter().find(|tag| tag["name"] == name.as_str()).unwrap()["size"].as_u64();
        assert!(size.is_some_and(|size| size < most_bytes), "{size:?} of {most_bytes}");
        let found = likeliest(&story, &model).await;
        for (token, logprob) in &wanted[..1] {
            let found = found.iter().find(|(other, _)| other == token).unwrap().1;
            assert!((found - logprob).abs() < tolerance, "{label}: {found} for {logprob}");
        }
    }
    let blobs = story.folder.path().join("data/models/blobs");
    let (theirs, their_bytes) = read(&models().join("stories260K-q8_0.gguf"));
    let ours = std::fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.starts_with(b"GGUF")
            && read(path).0.metadata.u64("general.file_type").unwrap() == Some(7)
    });
    let (header, bytes) = read(&ours.unwrap());
    assert_eq!(header.tensors.len(), theirs.tensors.len());
    for tensor in &header.tensors {
        let their = theirs.tensors.iter().find(|their| their.name == tensor.name).unwrap();
        assert!(data(&bytes, tensor) == data(&their_bytes, their), "{} differs", tensor.name);
    }
    assert!(bytes.len().abs_diff(their_bytes.len()) < 4096);
}

/// Bytes of a model, as the list has them.
async fn size(story: &Story, name: &str) -> u64 {
    let tags = story.get("/api/tags").await;
    let mut tags = tags["models"].as_array().unwrap().iter();
    tags.find(|tag| tag["name"] == name).unwrap()["size"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_safetensors_is_quantised_as_its_gguf_file_is() {
    let story = Story::begin().await;
    assert!(story.import(&models().join("hf"), "folder").await.contains("event: imported"));
    let prompt = json!("Once upon a time");
    let whole = size(&story, "folder:latest").await;
    for (kind, label) in [("q8_0", "Q8_0"), ("q4_K_M", "Q4_K_M"), ("q4_0", "Q4_0")] {
        let (small, twin) =
            (format!("f-{kind}").to_lowercase(), format!("g-{kind}").to_lowercase());
        let made = json!({ "model": small, "from": "folder", "quantize": kind });
        let lines = create(&story, made).await;
        assert_eq!(lines[0]["status"], "parsing safetensors");
        assert_eq!(lines[lines.len() - 1], json!({ "status": "success" }), "{lines:?}");
        let status = format!("quantizing F32 model to {label}");
        let last = lines.iter().rfind(|line| line["status"] == status.as_str()).unwrap();
        assert_eq!(last["completed"], last["total"]);
        let shown = call(&story, "/api/show", json!({ "model": small })).await;
        let details = &shown["details"];
        assert_eq!(
            (&details["quantization_level"], &details["family"]),
            (&json!(label), &json!("llama"))
        );
        let bytes = size(&story, &format!("{small}:latest")).await;
        assert!(bytes < whole / 2, "{label}: {bytes} of {whole}");
        // The same weights in the other container: llama.cpp's mix, and the same words.
        create(&story, json!({ "model": twin, "from": "stories260k", "quantize": kind })).await;
        let said = story.complete(&small, prompt.clone(), 24).await;
        assert_eq!(said, story.complete(&twin, prompt.clone(), 24).await, "{label}");
        let again = json!({ "model": "x", "from": small, "quantize": "q4_K_S" });
        let (status, answer) = story.call("/api/create", again).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.starts_with("quantization is only supported for F16"), "{status} {answer}");
    }
    // It outlives its base, and leaves nothing behind.
    let count =
        || std::fs::read_dir(story.folder.path().join("data/models/blobs")).unwrap().count();
    let body = json!({ "model": "folder" });
    story.send_json(Method::DELETE, "/api/delete", body).await;
    let before = count();
    assert!(!story.complete("f-q8_0", prompt, 8).await.is_empty());
    let body = json!({ "model": "f-q8_0" });
    let (status, answer) = story.send_json(Method::DELETE, "/api/delete", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert!(count() < before);
    let folders = story.folder.path().join("data/models/folders");
    assert!(std::fs::read_dir(folders).unwrap().count() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_chat_template_are_made_with_a_word_about_it() {
    let story = Story::begin().await;
    let mut files = serde_json::Map::new();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let mut bytes = std::fs::read(models().join("hf").join(name)).unwrap();
        if name == "tokenizer_config.json" {
            let mut config: Value = serde_json::from_slice(&bytes).unwrap();
            config.as_object_mut().unwrap().remove("chat_template");
            bytes = config.to_string().into_bytes();
        }
        let digest = hearth_hub::Digest::of(&bytes).to_string();
        story.send_bytes(Method::POST, &format!("/api/blobs/{digest}"), bytes).await;
        files.insert(name.to_owned(), json!(digest));
    }
    let lines = create(&story, json!({ "model": "bare", "files": files })).await;
    let told = |lines: &[Value], words: &str| {
        lines.iter().any(|line| line["status"].as_str().is_some_and(|line| line.contains(words)))
    };
    assert!(told(&lines, "no chat template"), "{lines:?}");
    let shown = call(&story, "/api/show", json!({ "model": "bare" })).await;
    assert_eq!(shown["capabilities"], json!(["completion"]));
    // Who brings one hears nothing of it.
    let made = json!({ "model": "asked", "files": files, "template": TEMPLATE,
        "requires": "0.99", "renderer": "x" });
    let lines = create(&story, made).await;
    assert!(!told(&lines, "no chat template"), "{lines:?}");
    for words in ["requires has no effect", "renderer and parser have no effect"] {
        assert!(told(&lines, words), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shown_modelfile_makes_the_same_model_again() {
    let story = Story::begin().await;
    let made = json!({
        "model": "first", "from": "stories260k", "template": TEMPLATE, "system": "Say \"hi\".\n",
        "license": ["MIT", "two\n\nlines"], "stream": false,
        "messages": [{ "role": "user", "content": "a\nb" }, { "role": "assistant", "content": "" }],
        "parameters": { "temperature": 0.5, "num_ctx": 64, "top_k": 3,
            "stop": ["<|end|>", "\n", " \"x\" ", "a\\nb"] },
    });
    call(&story, "/api/create", made).await;
    let first = call(&story, "/api/show", json!({ "model": "first" })).await;
    let recipe = Modelfile::parse(first["modelfile"].as_str().unwrap()).unwrap();
    let again = json!({
        "model": "second", "from": recipe.from, "template": recipe.template,
        "system": recipe.system, "license": recipe.licenses, "messages": recipe.messages,
        "parameters": recipe.parameters, "stream": false,
    });
    call(&story, "/api/create", again).await;
    let second = call(&story, "/api/show", json!({ "model": "second" })).await;
    for key in
        ["template", "system", "license", "messages", "parameters", "capabilities", "details"]
    {
        assert_eq!(second[key], first[key], "{key}");
    }
    let modelfile =
        |shown: &Value, name: &str| shown["modelfile"].as_str().unwrap().replace(name, "NAME");
    assert_eq!(modelfile(&second, "second"), modelfile(&first, "first"));
}

/// Runs a command line on a data directory.
async fn command(data: &std::path::Path, words: &[&str]) -> anyhow::Result<()> {
    let start = ["hearth", "--data", data.to_str().unwrap()];
    let words = start.iter().chain(words);
    hearth::run(hearth::cli::Cli::try_parse_from(words)?, &Default::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_makes_models_of_modelfiles_and_says_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let weights = models().join("stories260K-f32.gguf");
    std::fs::copy(&weights, folder.path().join("weights.gguf")).unwrap();
    let recipe = file("One", "FROM ./weights.gguf\nSYSTEM Be kind.\nPARAMETER top_k 3\nPARSER x");
    command(&data, &["models", "create", "one", "-f", &recipe]).await.unwrap();
    let recipe = file("Two", "FROM one\nTEMPLATE {{ .Prompt }}\nPARAMETER stop a\n");
    let small = ["models", "create", "two", "--file", &recipe, "--quantize", "q8_0"];
    command(&data, &small).await.unwrap();
    let recipe = file("Three", &format!("FROM {}", models().join("hf").display()));
    command(&data, &["models", "create", "three", "-f", &recipe]).await.unwrap();
    let four = ["models", "create", "four", "-f", &recipe, "--quantize", "q4_K_M"];
    command(&data, &four).await.unwrap();
    let wrong = [
        ("FROM two\nHELLO", "line 2: command must be one of"),
        ("SYSTEM x", "no FROM line"),
        ("FROM ./gone.gguf", "there is no such file"),
        ("FROM gone", "model 'gone' not found"),
        ("FROM ./One", "this is not a GGUF file"),
        ("FROM wrong", "model 'wrong' not found"),
        ("FROM two\nADAPTER ./a.gguf", "ADAPTER is not supported"),
        ("FROM two\nTEMPLATE {{ end }}", "template error"),
    ];
    for (text, words) in wrong {
        let recipe = file("Wrong", text);
        let failed = command(&data, &["models", "create", "wrong", "-f", &recipe]).await;
        let said = format!("{:#}", failed.unwrap_err());
        assert!(said.contains(words), "{text}: {said}");
    }
    let failed = command(&data, &["models", "create", "wrong", "-f", "/gone/Modelfile"]).await;
    assert!(format!("{:#}", failed.unwrap_err()).contains("there is no file"));
    let library = hearth_hub::Library::open(&data.join("models"), &[]).unwrap();
    let models: Vec<(String, String)> = library
        .list()
        .into_iter()
        .map(|entry| (entry.name.to_string(), entry.description.file_type))
        .collect();
    let expected = [("four", "Q4_K_M"), ("one", "F32"), ("three", "F32"), ("two", "Q8_0")];
    assert_eq!(models, expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())));
    let profile = library.profile(&"two".parse().unwrap()).unwrap();
    assert_eq!(profile.system.as_deref(), Some("Be kind."));
    assert_eq!(Value::Object(profile.parameters), json!({ "top_k": 3, "stop": ["a"] }));
}
