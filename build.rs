//! Makes `$OUT_DIR/assets.rs`: the table of the dashboard's files, `pub static ASSETS: &[Asset]`, which `api/assets` includes.
//!
//! `web/dist` is built by `make web` with npm. Here nothing runs npm and nothing touches the network: without `web/dist`,
//! `cargo build` alone still gives a working binary, with one page that says how to get the dashboard.
//!
//! And `$OUT_DIR/crates.json`: the crates that the binary is made of, with their licences, as Cargo tells them without the network.
//!
//! Of each entry: `path` without a leading slash (`index.html`, `assets/...`), the content type, a strong entity tag (quoted,
//! a 128-bit FNV-1a hash of the bytes; the server adds `-br` or `-gz` for a packed form), the bytes, and the forms packed by brotli and gzip where the build wrote them.

#![expect(clippy::disallowed_methods, reason = "a build script reads the source tree")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLACEHOLDER: &str = "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Watchkeeper</title></head>\n<body>\n<h1>Watchkeeper</h1>\n<p>This binary was built without the dashboard: run <code>make</code>.</p>\n<p>Everything else works: the HTTP API under <code>/api/v1</code> and <code>/api/v2</code>, and <a href=\"/metrics\">its own metrics</a>.</p>\n</body>\n</html>\n";

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let dist = root.join("web").join("dist");
    println!("cargo::rerun-if-changed=build.rs");
    // A folder that does not exist counts as changed at each build, and naming its parent would miss what `make web` puts into it
    // later. So it is made, empty; in a source tree that cannot be written nothing will appear either.
    let named = if dist.exists() || fs::create_dir_all(&dist).is_ok() { "dist" } else { "package.json" };
    println!("cargo::rerun-if-changed=web/{named}");

    let mut files = Vec::new();
    if dist.join("index.html").exists() {
        list(&dist, &mut files)?;
        files.sort();
    } else {
        println!("cargo::warning=web/dist is missing: built without the dashboard (run `make` for all of it)");
    }

    let mut table = String::from("/// The dashboard's files, sorted by path.\npub static ASSETS: &[Asset] = &[\n");
    if files.is_empty() {
        let page = out.join("placeholder.html");
        fs::write(&page, PLACEHOLDER)?;
        entry(&mut table, "index.html", &page)?;
    }
    for file in &files {
        let path = file.strip_prefix(&dist)?.to_string_lossy().replace('\\', "/");
        entry(&mut table, &path, file)?;
    }
    table.push_str("];\n");
    fs::write(out.join("assets.rs"), table)?;
    println!("cargo::rerun-if-changed=Cargo.lock");
    fs::write(out.join("crates.json"), crates(&root)?)?;
    Ok(())
}

/// Lists the crates of the binary as JSON, sorted. Where Cargo does not tell, those of `Cargo.lock`, without licences.
fn crates(root: &Path) -> Result<String, Box<dyn Error>> {
    let target = std::env::var("TARGET")?;
    let words =
        ["tree", "--locked", "--offline", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}|{l}|{r}"];
    let told = Command::new(std::env::var("CARGO")?).current_dir(root).args(words).args(["--target", &target]).output();
    let mut lines: Vec<[String; 4]> = Vec::new();
    match told {
        Ok(told) if told.status.success() => {
            for line in String::from_utf8_lossy(&told.stdout).lines() {
                let mut parts = line.trim_end_matches(" (*)").split('|').map(str::trim);
                let (of, licence, url) = (parts.next(), parts.next(), parts.next());
                let mut of = of.unwrap_or_default().split(' ');
                let (name, version) = (of.next().unwrap_or_default(), of.next().unwrap_or_default().trim_start_matches('v'));
                lines.push([name, version, licence.unwrap_or_default(), url.unwrap_or_default()].map(ToOwned::to_owned));
            }
        }
        other => {
            println!("cargo::warning=the licences of crates are not known: cargo tree: {other:?}");
            let lock = fs::read_to_string(root.join("Cargo.lock"))?;
            for package in lock.split("[[package]]").skip(1) {
                let value = |key: &str| {
                    let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
                    line.unwrap_or_default().trim_matches('"').to_owned()
                };
                lines.push([value("name"), value("version"), "unknown".to_owned(), String::new()]);
            }
        }
    }
    lines.retain(|[name, ..]| !name.is_empty() && name != env!("CARGO_PKG_NAME"));
    lines.sort();
    lines.dedup();
    let entries = lines.iter().map(|[name, version, licence, url]| {
        let url = if url.is_empty() { "null".to_owned() } else { format!("{url:?}") };
        format!("{{\"name\": {name:?}, \"version\": {version:?}, \"licence\": {licence:?}, \"url\": {url}, \"text\": null}}")
    });
    Ok(format!("[\n{}\n]\n", entries.collect::<Vec<_>>().join(",\n")))
}

/// Collects the files below `folder`, without the packed forms that lie beside them.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if !matches!(extension(&path), "br" | "gz") {
            files.push(path);
        }
    }
    Ok(())
}

fn entry(table: &mut String, path: &str, file: &Path) -> Result<(), Box<dyn Error>> {
    let tag = hash(&fs::read(file)?);
    let packed = |kind: &str| {
        let name = PathBuf::from(format!("{}.{kind}", file.display()));
        if name.exists() { format!("Some(include_bytes!({name:?}))") } else { "None".to_owned() }
    };
    writeln!(
        table,
        "    Asset {{ path: {path:?}, content_type: {:?}, etag: \"\\\"{tag:032x}\\\"\", bytes: include_bytes!({file:?}), br: {}, gz: {} }},",
        content_type(file),
        packed("br"),
        packed("gz"),
    )?;
    Ok(())
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|text| text.to_str()).unwrap_or_default()
}

fn content_type(path: &Path) -> &'static str {
    match extension(path) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}

/// Returns the 128-bit FNV-1a hash: no package is needed for it, and it is the same with every compiler.
fn hash(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}
