//! Go's rules, where they differ from Rust's; what the store learns from a pattern; templates.

use super::*;

fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    let regex = Regex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for text in yes {
        assert!(regex.is_match(text), "{pattern} should match {text:?}");
    }
    for text in no {
        assert!(!regex.is_match(text), "{pattern} should not match {text:?}");
    }
}

#[test]
fn matches_by_gos_rules() {
    check("a.c", &["abc", "a\nc", "aéc"], &["abcd", "xabc", "ac"]);
    check("", &[""], &["a"]);
    check(".*", &["", "a\nb"], &[]);
    check(".+", &["a", "\n"], &[""]);
    check("up.*", &["up", "upper", "up\n"], &["u", " up"]);
    check(r"\d+", &["42"], &["٤٢", ""]);
    check(r"\w", &["a", "_"], &["é"]);
    check(r"\Qa.b\E+", &["a.b", "a.bb"], &["aab"]);
    check(r"\Qa*", &["a*"], &["aa"]);
    check("a{,2}", &["a{,2}"], &["aa"]);
    check("{", &["{"], &[]);
    check("a{2,3}", &["aa", "aaa"], &["a", "aaaa"]);
    check("(?i)grüße|x", &["GRÜSSE".replace("SS", "ß").as_str(), "X"], &[]);
    check("(?i)[^a]", &["b"], &["a", "A"]);
    check("[[:alpha:]-]+", &["ab-"], &["1"]);
    check("[]a]", &["]", "a"], &["b"]);
    check("[a&&b]", &["&", "a", "b"], &["c"]);
    check("[[a]]", &["[]", "a]"], &["a"]);
    check(r"\pL\p{Greek}\PN", &["aβ!"], &["ab!", "aβ1"]);
    check(r"\p{^L}", &["1"], &["a"]);
    check(r"\x41\x{1F600}\101", &["A😀A"], &[]);
    check("(?s-s:.)", &["a"], &["\n"]);
    check("(?m)a$\n^b", &["a\nb"], &[]);
    check(r"a\b b", &["a b"], &[]);
    check("(?P<x>a)(?<y>b)", &["ab"], &[]);
    check("(?U)a+", &["aaa"], &[]);
    check(r"\_\-", &["_-"], &[]);
    check("a|b|", &["a", "b", ""], &["ab"]);
    check("^a$", &["a"], &["b"]);
    check("(?:a|b)*c", &["ababc", "c"], &["ab"]);
}

#[test]
fn refuses_in_gos_words() {
    let cases = [
        ("(", "missing closing ): `(`"),
        (")", "unexpected ): `)`"),
        ("a)", "unexpected ): `a)`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("x*+", "invalid nested repetition operator: `*+`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("(a{500}){3}", "invalid repeat count: `{3}`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("[a", "missing closing ]: `[a`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\y", r"invalid escape sequence: `\y`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("(?P<1-2>a)", "invalid named capture: `(?P<1-2>`"),
    ];
    for (pattern, expected) in cases {
        let error = Regex::new(pattern).expect_err(pattern);
        assert_eq!(error.to_string(), format!("error parsing regexp: {expected}"), "{pattern}");
    }
}

#[test]
fn refuses_what_is_too_large() {
    assert!(Regex::new(&format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000))).is_err());
    assert!(Regex::new(r"(\pL{1000}|x{1000}){1}(\pL{1000}|y{1000}){1}\pL{1000}\pL{1000}").is_err());
    assert!(Regex::new("(((a{10}){10}){10}){10}").is_err());
}

#[test]
fn tells_what_can_match() {
    let alternatives = |pattern: &str| Regex::new(pattern).unwrap().literal_alternatives().map(<[String]>::to_vec);
    let some = |texts: &[&str]| Some(texts.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(alternatives("b|a"), some(&["a", "b"]));
    assert_eq!(alternatives("web[12]|(db)"), some(&["db", "web1", "web2"]));
    assert_eq!(alternatives("a?b"), some(&["ab", "b"]));
    assert_eq!(alternatives(""), some(&[""]));
    assert_eq!(alternatives("a|b.*"), None);
    assert_eq!(alternatives(".*"), None);
    let prefix = |pattern: &str| Regex::new(pattern).unwrap().literal_prefix().map(str::to_owned);
    assert_eq!(prefix("node_.*"), Some("node_".to_owned()));
    assert_eq!(prefix("(node_cpu.*|node_memory.+)"), Some("node_".to_owned()));
    assert_eq!(prefix("(?i)node"), None);
    assert_eq!(prefix("a*b"), None);
}

#[test]
fn templates_take_the_longest_word() {
    let cases = [
        ("(.*)-(?P<n>.*)", "a-b", "$1", "a"),
        ("(.*)-(?P<n>.*)", "a-b", "$1x", ""),
        ("(.*)-(?P<n>.*)", "a-b", "${1}x$n", "axb"),
        ("(.*)-(?P<n>.*)", "a-b", "$$1 $ ${ $3 $0", "$1 $ ${  a-b"),
        ("(a)|b", "b", "<$1>", "<>"),
        ("a", "a", "plain", "plain"),
        ("(a)", "a", "$01", ""),
    ];
    for (pattern, text, template, expected) in cases {
        let regex = Regex::new(pattern).unwrap();
        assert_eq!(regex.expand(text, template).as_deref(), Some(expected), "{pattern} {template}");
    }
    assert_eq!(Regex::new("a").unwrap().expand("b", "$0"), None);
}
