//! E-mail, by a mail server of the operator's choice.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::AlertsConfig;
use crate::error::{Error, Result};

/// How long each step with the mail server may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends e-mail.
pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mail {
    /// The mail server of the settings, if there is one; names a setting that is wrong.
    pub(super) fn open(config: &AlertsConfig) -> std::result::Result<Option<Mail>, String> {
        if config.smtp_url.0.is_empty() {
            return Ok(None);
        }
        rustls::crypto::ring::default_provider().install_default().ok();
        // The error would quote the address, which holds a password.
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&config.smtp_url.0)
            .map_err(|_| "smtp_url must be as smtps://name:password@host:465")?;
        let from = config.smtp_from.parse();
        let from = from.map_err(|_| "smtp_from must be an address, as Hearth <h@b.example>")?;
        Ok(Some(Mail { transport: builder.timeout(Some(STEP_TIMEOUT)).build(), from }))
    }

    /// Sends one letter. `id` makes its Message-ID the same however often it is sent.
    pub(super) async fn send(
        &self,
        to: &str,
        id: i64,
        subject: &str,
        body: &str,
    ) -> std::result::Result<(), String> {
        let to: Mailbox = to.parse().map_err(|_| "the address cannot be read".to_owned())?;
        let domain = self.from.email.domain();
        let letter = Message::builder()
            .from(self.from.clone())
            .to(to)
            .message_id(Some(format!("<hearth-alert-{id}@{domain}>")))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(body.to_owned())
            .map_err(|error| error.to_string())?;
        self.transport.send(letter).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Refuses what is no address of e-mail.
pub(super) fn check(address: &str) -> Result<()> {
    match address.parse::<Mailbox>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid("address", "'address' must be as ann@example.com.")),
    }
}
