//! The AWS SDK's configuration, made of a function's.
//!
//! It is built by hand, not by `aws-config`. A function finds its credentials and region in its environment,
//! and trusts only Amazon's roots. So a cold start looks for nothing, and parses no system certificates
//! (docs/performance.md has what that saves).

use std::fs;

use aws_sdk_dynamodb::config::{BehaviorVersion, SharedCredentialsProvider};
use aws_types::SdkConfig;
use tickets_repository::http_client::{Roots, http_client, is_on_this_machine, local_config};

use crate::{Config, InvalidConfig};

impl Config {
    /// The SDK's configuration for the service at `endpoint_url`, or at the region's own endpoint. Without
    /// credentials in the environment, an endpoint on this machine gets dummy ones.
    pub fn sdk_config(&self, endpoint_url: Option<&str>) -> Result<SdkConfig, InvalidConfig> {
        let mut sdk_config = match (&self.region, &self.credentials, endpoint_url) {
            (Some(region), Some(credentials), _) => SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(region.clone())
                .credentials_provider(SharedCredentialsProvider::new(credentials.clone())),
            (_, _, Some(url)) if is_on_this_machine(url) => local_config(url).into_builder(),
            _ => return Err(InvalidConfig::Nobody),
        };
        sdk_config.set_endpoint_url(endpoint_url.map(str::to_owned));
        Ok(sdk_config.http_client(http_client(endpoint_url, self.roots()?)).build())
    }

    /// The roots that TLS trusts.
    pub fn roots(&self) -> Result<Roots, InvalidConfig> {
        let Some(path) = &self.ca_bundle else { return Ok(Roots::amazon()) };
        let bundle =
            fs::read(path).map_err(|source| InvalidConfig::CaBundle { path: path.clone(), source })?;
        Roots::parse(bundle).ok_or_else(|| InvalidConfig::NoRoots(path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        Config::from_lookup(|name| value(name).map(str::to_owned)).unwrap()
    }

    fn region(sdk_config: &SdkConfig) -> &str {
        sdk_config.region().unwrap().as_ref()
    }

    #[test]
    fn a_function_uses_the_region_and_credentials_of_its_environment() {
        let no_credentials = config(&[("AWS_REGION", "eu-west-1")]);
        assert!(matches!(no_credentials.sdk_config(None), Err(InvalidConfig::Nobody)));
        let local = no_credentials.sdk_config(Some("http://127.0.0.1:8000")).unwrap();
        assert_eq!(region(&local), "us-east-1", "an endpoint on this machine gets dummy credentials");
        let lambda = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "ASIA"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ];
        let deployed = config(&lambda).sdk_config(None).unwrap();
        assert_eq!((region(&deployed), deployed.endpoint_url()), ("eu-west-1", None));
        // An emulator of AWS on this machine can then hold a function to its role's rights.
        let emulated = config(&lambda).sdk_config(Some("http://127.0.0.1:4566")).unwrap();
        assert_eq!(
            (region(&emulated), emulated.endpoint_url()),
            ("eu-west-1", Some("http://127.0.0.1:4566"))
        );
        let missing = [lambda.as_slice(), &[("AWS_CA_BUNDLE", "/nowhere.pem")]].concat();
        let error = config(&missing).sdk_config(None).unwrap_err().to_string();
        assert!(error.starts_with("AWS_CA_BUNDLE: cannot read /nowhere.pem"), "{error}");
    }
}
