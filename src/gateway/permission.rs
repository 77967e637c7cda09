//! What each role may do, as a table.

use hearth_store::UserRole;
use serde::Serialize;

/// Something that some may do and others not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// To use models and to have chats and API tokens.
    UseModels,
    /// To bring models in and to remove them.
    ManageModels,
    /// To connect providers of models.
    ManageChannels,
    /// To make and change users, groups, invites and other people's API tokens.
    ManagePeople,
    /// To grant money and to set budgets and prices.
    ManageMoney,
    /// To see what everybody used.
    ReadUsage,
    /// To see who did what.
    ReadAudit,
    /// To make and change owners.
    ManageOwners,
}

/// The built-in roles, from the least.
pub const ROLES: [(UserRole, &[Permission]); 3] = [
    (UserRole::User, &[Permission::UseModels]),
    (
        UserRole::Admin,
        &[
            Permission::UseModels,
            Permission::ManageModels,
            Permission::ManageChannels,
            Permission::ManagePeople,
            Permission::ManageMoney,
            Permission::ReadUsage,
            Permission::ReadAudit,
        ],
    ),
    (
        UserRole::Owner,
        &[
            Permission::UseModels,
            Permission::ManageModels,
            Permission::ManageChannels,
            Permission::ManagePeople,
            Permission::ManageMoney,
            Permission::ReadUsage,
            Permission::ReadAudit,
            Permission::ManageOwners,
        ],
    ),
];

/// What this role may do.
pub fn permissions(role: UserRole) -> &'static [Permission] {
    ROLES.iter().find(|(known, _)| *known == role).map_or(&[], |(_, permissions)| permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_role_may_do_all_that_a_lower_one_may() {
        for pair in ROLES.windows(2) {
            assert!(pair[0].0 < pair[1].0);
            assert!(pair[0].1.iter().all(|permission| pair[1].1.contains(permission)));
        }
    }
}
