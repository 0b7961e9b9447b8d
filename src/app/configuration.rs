//! Reading the configuration, and reading it again: everything that can fail happens before anything changes.

use crate::config::{self, Config, ConfigError, Files};
use crate::env::Env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The disk as configuration sees it.
struct DiskFiles<'a> {
    env: &'a Env,
}

impl Files for DiskFiles<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        String::from_utf8(self.env.disk.read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        Ok(self.env.disk.list(folder)?.into_iter().map(|entry| entry.name).collect())
    }
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Its content was refused.
    #[error(transparent)]
    Refused(#[from] ConfigError),
}

/// Reads the configuration of a file, or what holds without one. Blocks.
///
/// # Errors
/// When the file cannot be read or is refused; nothing has changed then.
pub fn load(env: &Env, path: Option<&Path>) -> Result<Arc<Config>, LoadError> {
    let Some(path) = path else { return Ok(Arc::new(Config::without_file())) };
    let files = DiskFiles { env };
    let text = files.read(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
    Ok(Arc::new(config::load(path, &text, &files)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Disk as _;
    use crate::env::disk::Open;
    use crate::env::memory_disk::MemoryDisk;

    #[test]
    fn a_refusal_names_file_line_and_column() {
        let disk = MemoryDisk::new();
        let put =
            |path: &str, text: &str| disk.open(Path::new(path), Open::Create).unwrap().write_at(text.as_bytes(), 0).unwrap();
        put("/c/good.yml", "global:\n  scrape_interval: 5s\n");
        put("/c/bad.yml", "global:\n  scrape_intervall: 5s\n");
        let env = Env { disk: Arc::new(disk.clone()), ..Env::real() };
        assert_eq!(load(&env, Some(Path::new("/c/good.yml"))).unwrap().global.scrape_interval.as_secs(), 5);
        let refused = load(&env, Some(Path::new("/c/bad.yml"))).unwrap_err().to_string();
        assert!(refused.contains("/c/bad.yml") && refused.contains('2') && refused.contains("scrape_intervall"), "{refused}");
        let absent = load(&env, Some(Path::new("/c/none.yml"))).unwrap_err().to_string();
        assert!(absent.contains("/c/none.yml"), "{absent}");
        assert!(load(&env, None).unwrap().host_metrics.enabled);
    }
}
