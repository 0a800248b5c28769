//! The configuration that the deployment's functions run with, noted in the table. Operators' commands work on the
//! table with it, not with what their shell happens to have: a tombstone has to last as long as is promised, and an
//! import has to wait as long as the functions' writers may take.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tickets_domain::Result;

use crate::failure::Failure;
use crate::item;
use crate::primary_key::PrimaryKey;
use crate::tickets::Tickets;

/// The functions' environment variables that decide what is written to the table, and their values.
pub type Variables = BTreeMap<String, String>;

#[derive(Debug, Serialize, Deserialize)]
struct SettingsItem {
    bucket: String,
    id: u64,
    variables: Variables,
}

impl Tickets {
    /// The configuration that was noted last; `None` if none was.
    pub async fn noted_configuration(&self) -> Result<Option<Variables>> {
        let item =
            self.read(PrimaryKey::settings()).await?.map(item::from_item::<SettingsItem>).transpose()?;
        Ok(item.map(|item| item.variables))
    }

    /// Notes the configuration that functions run with, if it is another one than noted.
    pub async fn note_configuration(&self, variables: &Variables) -> Result<()> {
        if self.noted_configuration().await?.as_ref() == Some(variables) {
            return Ok(());
        }
        let PrimaryKey { bucket, id } = PrimaryKey::settings();
        let item = item::to_item(SettingsItem { bucket, id, variables: variables.clone() })?;
        // It may be put twice without harm.
        let put = self.dynamodb.client().put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map_err(Failure::of)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::scripted;

    #[tokio::test(start_paused = true)]
    async fn a_configuration_is_noted_when_it_changes() {
        let (tickets, calls) = scripted::engine(0).await;
        assert_eq!(tickets.noted_configuration().await.unwrap(), None);
        for (days, puts) in [("90", 1), ("90", 1), ("365", 2), ("", 3)] {
            let variables = [("TOMBSTONE_DAYS".to_owned(), days.to_owned())].into();
            tickets.note_configuration(&variables).await.unwrap();
            assert_eq!(tickets.noted_configuration().await.unwrap(), Some(variables));
            assert_eq!(calls.of("PutItem").len(), puts, "{days}");
        }
    }
}
