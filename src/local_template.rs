//! By which template a model is asked: the one of its file, one that came beside it, or the
//! request's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hearth_engine::Model;
use hearth_gateway::{Error, Result};
use hearth_text::ChatTemplate;

use crate::local_rules::wrong;

/// Most parsed templates that are kept; then all are parsed anew.
const MAX_KEPT: usize = 64;

/// Parsed templates, by their texts.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    parsed: Mutex<HashMap<String, Arc<ChatTemplate>>>,
}

/// A template that came with a model besides its file.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) source: Option<String>,
    /// It counts only where the file has none.
    pub(crate) is_last_resort: bool,
}

/// The template that one request is asked by.
#[derive(Debug)]
pub(crate) enum Chosen {
    /// The one of the model's file.
    Own,
    Other(Arc<ChatTemplate>),
}

impl Chosen {
    pub(crate) fn get<'a>(&'a self, model: &'a Model) -> &'a ChatTemplate {
        match self {
            Chosen::Own => model.template(),
            Chosen::Other(template) => template,
        }
    }
}

impl Templates {
    /// `asked`: the request's own.
    pub(crate) fn choose(
        &self,
        model: &Model,
        beside: Beside,
        asked: Option<&str>,
    ) -> Result<Chosen> {
        if let Some(source) = asked {
            let template = ChatTemplate::new_go(source).map_err(wrong)?;
            return Ok(Chosen::Other(Arc::new(template)));
        }
        let has_own = model.tokenizer().chat_template().is_some();
        let is_wanted = !(has_own && beside.is_last_resort);
        let Some(source) = beside.source.filter(|_| is_wanted) else { return Ok(Chosen::Own) };
        let template = match self.parsed(source) {
            Ok(template) => template,
            Err(error) if has_own => {
                tracing::warn!(model.name = %model.info().name, %error, "template left out");
                return Ok(Chosen::Own);
            }
            Err(error) => {
                let model = model.info().name.clone();
                return Err(Error::BadModel { model, reason: error.to_string() });
            }
        };
        let own = model.template().abilities();
        match has_own && own.are_better_than(template.abilities()) {
            true => Ok(Chosen::Own),
            false => Ok(Chosen::Other(template)),
        }
    }

    fn parsed(&self, source: String) -> hearth_text::Result<Arc<ChatTemplate>> {
        if let Some(known) = self.kept().get(&source) {
            return Ok(Arc::clone(known));
        }
        // Not under the lock: a hostile one takes its time.
        let template = Arc::new(ChatTemplate::new_go(&source)?);
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(source, Arc::clone(&template));
        Ok(template)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<ChatTemplate>>> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
