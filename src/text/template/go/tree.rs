//! Reads and rewrites the tree of a parsed template.

use std::collections::BTreeSet;
use std::sync::Arc;

use gotmpl::parse::{
    ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr, TextNode,
};

use super::functions::AS_TEXT;

/// The field that stands for the answer.
const RESPONSE: &str = "Response";

/// `{{ .Response }}`, for templates that end where the answer begins and do not say so.
pub(super) fn response() -> Node {
    let pos = Pos::new(0, 0);
    let args = vec![Expr::Field(pos, vec![SmolStr::new_static(RESPONSE)])];
    let commands = vec![CommandNode { pos, args }];
    let pipe = PipeNode { pos, decl: Vec::new(), commands, is_assign: false };
    Node::Action(ActionNode { pos, pipe })
}

/// The tree with an empty text before each node, and with whatever it prints made text by our own
/// function.
pub(super) fn metered(list: ListNode) -> ListNode {
    let pos = list.pos;
    let mut nodes = Vec::with_capacity(list.nodes.len() * 2);
    for node in list.nodes {
        nodes.push(Node::Text(TextNode { pos, text: Arc::from("") }));
        nodes.push(match node {
            Node::List(list) => Node::List(metered(list)),
            Node::If(branch) => Node::If(metered_branch(branch)),
            Node::Range(branch) => Node::Range(metered_branch(branch)),
            Node::With(branch) => Node::With(metered_branch(branch)),
            Node::Action(mut action) => {
                if action.pipe.decl.is_empty() {
                    let args = vec![Expr::Identifier(action.pos, SmolStr::new_static(AS_TEXT))];
                    action.pipe.commands.push(CommandNode { pos: action.pos, args });
                }
                Node::Action(action)
            }
            other => other,
        });
    }
    // A body without nodes is passed through too.
    if nodes.is_empty() {
        nodes.push(Node::Text(TextNode { pos, text: Arc::from("") }));
    }
    ListNode { pos, nodes }
}

fn metered_branch(branch: BranchNode) -> BranchNode {
    let (body, else_body) = (metered(branch.body), branch.else_body.map(metered));
    BranchNode { body, else_body, ..branch }
}

/// The tree up to the first place that prints the answer.
pub(super) fn until_response(list: &ListNode) -> ListNode {
    cut(list, &mut false)
}

fn cut(list: &ListNode, is_cut: &mut bool) -> ListNode {
    let mut nodes = Vec::new();
    for node in &list.nodes {
        if *is_cut {
            break;
        }
        nodes.push(match node {
            Node::List(list) => Node::List(cut(list, is_cut)),
            Node::If(branch) => Node::If(cut_branch(branch, is_cut)),
            Node::Range(branch) => Node::Range(cut_branch(branch, is_cut)),
            Node::With(branch) => Node::With(cut_branch(branch, is_cut)),
            Node::Action(action) => {
                *is_cut |= fields(&action.pipe).any(|names| names.contains(&RESPONSE));
                Node::Action(action.clone())
            }
            other => other.clone(),
        });
    }
    ListNode { pos: list.pos, nodes }
}

fn cut_branch(branch: &BranchNode, is_cut: &mut bool) -> BranchNode {
    let body = cut(&branch.body, is_cut);
    let else_body = branch.else_body.as_ref().map(|list| cut(list, is_cut));
    BranchNode { pos: branch.pos, pipe: branch.pipe.clone(), body, else_body }
}

/// Names of all fields and variables, in lower case.
pub(super) fn names(list: &ListNode) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    each_pipe(list, &mut |pipe| {
        each_expression(pipe, &mut |expression| {
            let (first, chain) = match expression {
                Expr::Field(_, chain) | Expr::Chain(_, _, chain) => (None, chain),
                Expr::Variable(_, name, chain) => (Some(name), chain),
                _ => return,
            };
            names.extend(first.into_iter().chain(chain).map(|name| name.to_lowercase()));
        });
    });
    names
}

/// Names of all functions.
pub(super) fn functions(list: &ListNode) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    each_pipe(list, &mut |pipe| {
        each_expression(pipe, &mut |expression| {
            if let Expr::Identifier(_, name) = expression {
                names.insert(name.to_string());
            }
        });
    });
    names
}

/// What stands before and behind an assistant's thoughts where messages are gone through.
pub(super) fn thoughts(list: &ListNode) -> Option<(String, String)> {
    let mut tags = (String::new(), String::new());
    thoughts_in(list, false, &mut tags);
    let is_whole = !tags.0.is_empty() && !tags.1.is_empty();
    is_whole.then_some(tags)
}

fn thoughts_in(list: &ListNode, in_messages: bool, tags: &mut (String, String)) {
    let text = |node: Option<&Node>| match node {
        Some(Node::Text(text)) => Some(text.text.trim().to_owned()),
        _ => None,
    };
    let note = |pipe: &PipeNode, tags: &mut (String, String)| {
        if in_messages && fields(pipe).any(|names| names.contains(&"Thinking")) {
            tags.0 = text(list.nodes.first()).unwrap_or_else(|| tags.0.clone());
            tags.1 = text(list.nodes.last()).unwrap_or_else(|| tags.1.clone());
        }
    };
    for node in &list.nodes {
        let (branch, in_messages) = match node {
            Node::Action(action) => {
                note(&action.pipe, tags);
                continue;
            }
            Node::List(list) => {
                thoughts_in(list, in_messages, tags);
                continue;
            }
            Node::Range(branch) => {
                let goes = fields(&branch.pipe).any(|names| names.contains(&"Messages"));
                (branch, goes || in_messages)
            }
            Node::If(branch) | Node::With(branch) => (branch, in_messages),
            _ => continue,
        };
        note(&branch.pipe, tags);
        thoughts_in(&branch.body, in_messages, tags);
        if let Some(list) = &branch.else_body {
            thoughts_in(list, in_messages, tags);
        }
    }
}

/// The chains of fields that a pipe looks at.
fn fields(pipe: &PipeNode) -> impl Iterator<Item = Vec<&str>> {
    let mut found = Vec::new();
    each_expression(pipe, &mut |expression| {
        if let Expr::Field(_, chain) | Expr::Variable(_, _, chain) = expression {
            found.push(chain.iter().map(SmolStr::as_str).collect());
        }
    });
    found.into_iter()
}

fn each_pipe<'a>(list: &'a ListNode, visit: &mut impl FnMut(&'a PipeNode)) {
    for node in &list.nodes {
        match node {
            Node::List(list) => each_pipe(list, visit),
            Node::Action(action) => visit(&action.pipe),
            Node::Template(call) => call.pipe.iter().for_each(&mut *visit),
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                visit(&branch.pipe);
                each_pipe(&branch.body, visit);
                if let Some(list) = &branch.else_body {
                    each_pipe(list, visit);
                }
            }
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn each_expression<'a>(pipe: &'a PipeNode, visit: &mut dyn FnMut(&'a Expr)) {
    for expression in pipe.commands.iter().flat_map(|command| &command.args) {
        visit(expression);
        let mut inner = expression;
        while let Expr::Chain(_, chained, _) = inner {
            inner = chained;
            visit(inner);
        }
        if let Expr::Pipe(_, pipe) = inner {
            each_expression(pipe, visit);
        }
    }
}
