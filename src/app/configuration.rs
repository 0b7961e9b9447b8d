//! Reading the configuration, and reading it again: everything that can fail happens before anything changes.

use crate::config::overlay::FileLayer;
use crate::config::{self, Config, ConfigError, Files};
use crate::env::Env;
use std::io;
use std::path::Path;

/// The disk as configuration sees it.
struct DiskFiles<'a> {
    env: &'a Env,
}

impl Files for DiskFiles<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.env.disk.read(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        Ok(self.env.disk.list(folder)?.into_iter().map(|entry| entry.name).collect())
    }
}

/// Reads the configuration of a file, or what holds without one. Blocks.
///
/// # Errors
/// When the file cannot be read or is refused; nothing has changed then.
pub fn load(env: &Env, path: Option<&Path>) -> Result<FileLayer, ConfigError> {
    let Some(path) = path else { return FileLayer::without_file(Config::without_file()) };
    let files = DiskFiles { env };
    let text = files.text(path)?;
    let layer = FileLayer::read(path, &text, &files)?;
    if config::has_more_documents(&text) {
        tracing::warn!(file = %path.display(), "only the first YAML document of the configuration is read: the rest is ignored");
    }
    Ok(layer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Disk as _;
    use crate::env::disk::Open;
    use crate::env::memory_disk::MemoryDisk;
    use std::sync::Arc;

    #[test]
    fn a_refusal_names_file_line_and_column() {
        let disk = MemoryDisk::new();
        let put =
            |path: &str, text: &str| disk.open(Path::new(path), Open::Create).unwrap().write_at(text.as_bytes(), 0).unwrap();
        put("/c/good.yml", "global:\n  scrape_interval: 5s\n");
        put("/c/bad.yml", "global:\n  scrape_intervall: 5s\n");
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        assert_eq!(load(&env, Some(Path::new("/c/good.yml"))).unwrap().config().global.scrape_interval.as_secs(), 5);
        let refused = load(&env, Some(Path::new("/c/bad.yml"))).unwrap_err().to_string();
        assert!(refused.contains("/c/bad.yml") && refused.contains('2') && refused.contains("scrape_intervall"), "{refused}");
        let absent = anyhow::Error::from(load(&env, Some(Path::new("/c/none.yml"))).unwrap_err());
        let reason = env.disk.read(Path::new("/c/none.yml")).unwrap_err().to_string();
        // As the command line prints it, causes included: the reason stands there once.
        assert_eq!(format!("{absent:#}"), format!("/c/none.yml: {reason}"));
        disk.replace(Path::new("/c/latin1.yml"), b"global:\n  # caf\xe9\n").unwrap();
        let refused = load(&env, Some(Path::new("/c/latin1.yml"))).unwrap_err().to_string();
        assert!(refused.starts_with("/c/latin1.yml:2:8: not valid UTF-8"), "{refused}");
        assert!(load(&env, None).unwrap().config().host_metrics.enabled);
    }
}
