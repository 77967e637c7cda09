//! The audit log, for those who may read it.

use hearth_store::{AuditFilter, AuditHash, AuditReport, AuditRow};

use super::Accounts;
use crate::caller::Caller;
use crate::error::Result;
use crate::permission::Permission;

impl Accounts {
    /// Acts, the newest first.
    pub async fn list_audit(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditRow>> {
        caller.require(Permission::ReadAudit)?;
        Ok(self.inner.store.audit().list(filter, limit).await?)
    }

    /// Whether the log is whole. `known`: what an earlier verification said, noted elsewhere.
    pub async fn verify_audit(
        &self,
        caller: &Caller,
        known: Option<(i64, AuditHash)>,
    ) -> Result<AuditReport> {
        caller.require(Permission::ReadAudit)?;
        let report = self.inner.store.audit().verify(known).await?;
        match &report.fault {
            // The head in the process's log is one that an intruder of the database cannot change.
            None => tracing::info!(audit.rows = report.rows, "the audit log is whole"),
            Some(fault) => tracing::error!(audit.rows = report.rows, "the audit log: {fault}"),
        }
        Ok(report)
    }
}
