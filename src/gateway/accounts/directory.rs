//! Sign-in by a directory of people.

use hearth_store::User;

use super::Accounts;
use crate::error::Result;

impl Accounts {
    /// The user whom the directory knows by this name and password.
    #[expect(clippy::unused_async, reason = "a directory is asked over the network")]
    pub(super) async fn sign_in_by_directory(
        &self,
        _name: &str,
        _password: &str,
        _known: Option<&User>,
    ) -> Result<Option<User>> {
        Ok(None)
    }
}
