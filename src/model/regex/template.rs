//! Templates of replacements by Go's rules (`Regexp.Expand`): `$name` takes the longest word, so `$1x` is the group named
//! `1x`; `${1}x` is the first group and an `x`; `$$` is a dollar; a dollar that starts nothing stands for itself.

/// What a template names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Group<'a> {
    Number(usize),
    Name(&'a str),
}

/// Gives the pieces of an expanded template; a group that is not there or took no part in the match is empty.
pub(super) fn pieces<'t>(template: &str, value: impl Fn(Group<'_>) -> Option<&'t str>, mut give: impl FnMut(&str)) {
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('$') {
        give(before);
        if let Some(behind) = behind.strip_prefix('$') {
            give("$");
            rest = behind;
        } else if let Some((name, behind)) = reference(behind) {
            give(value(group(name)).unwrap_or(""));
            rest = behind;
        } else {
            give("$");
            rest = behind;
        }
    }
    give(rest);
}

/// Reads `name` or `{name}`; the second answer is what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inner, braced) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let length = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, behind) = inner.split_at(length);
    if name.is_empty() {
        return None;
    }
    if braced { behind.strip_prefix('}').map(|behind| (name, behind)) } else { Some((name, behind)) }
}

fn group(name: &str) -> Group<'_> {
    let leading_zero = name.len() > 1 && name.starts_with('0');
    match name.parse() {
        Ok(number) if !leading_zero && name.bytes().all(|byte| byte.is_ascii_digit()) => Group::Number(number),
        _ => Group::Name(name),
    }
}
