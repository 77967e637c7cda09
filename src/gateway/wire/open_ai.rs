//! OpenAI's dialect.

use super::{Call, EmbedCall, Read, Reader, Refusal, RefusalKind, Shape, Target, Wire};
use crate::embedding::{EmbedRequest, Embedded};
use crate::error::{Error, Result};
use crate::request::GenerateRequest;

/// OpenAI's dialect.
pub(super) struct OpenAi;

impl Wire for OpenAi {
    fn call(&self, _request: &GenerateRequest, _target: &Target) -> Result<Call> {
        Err(Error::Internal("no such wire yet".to_owned()))
    }

    fn reader(&self, _request: &GenerateRequest, _shape: Shape) -> Box<dyn Reader> {
        struct Nothing;
        impl Reader for Nothing {
            fn feed(&mut self, _: &[u8], _: &mut Vec<crate::event::Event>) -> Read<()> {
                Ok(())
            }
            fn end(&mut self, _: &mut Vec<crate::event::Event>) -> Read<()> {
                Err(Refusal::broken("no such wire yet"))
            }
        }
        Box::new(Nothing)
    }

    fn refusal(&self, _status: u16, _body: &[u8]) -> Refusal {
        Refusal { kind: RefusalKind::Broken, message: String::new() }
    }

    fn credential(&self, key: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {key}"))
    }

    fn models_path(&self) -> &'static str {
        "/models"
    }

    fn models(&self, _body: &[u8]) -> Read<Vec<String>> {
        Ok(Vec::new())
    }

    fn embed(&self, _request: &EmbedRequest, _target: &Target) -> Result<Vec<EmbedCall>> {
        Ok(Vec::new())
    }

    fn embedded(&self, _call: &EmbedCall, _body: &[u8]) -> Read<Embedded> {
        Err(Refusal::broken("no such wire yet"))
    }
}
