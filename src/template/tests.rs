//! The text language by example; the shared vectors are checked where their functions are.

use super::{MissingKey, NoFunctions, Template, Value};

fn run(text: &str, data: &Value) -> Result<String, String> {
    let set = Template::parse("test", text, &NoFunctions).map_err(|error| error.to_string())?;
    set.execute("test", data, &NoFunctions).map_err(|error| error.to_string())
}

fn data() -> Value {
    Value::map([
        ("name", Value::from("web")),
        ("list", Value::list([Value::Int(1), Value::Int(2), Value::Int(3)])),
        ("map", Value::string_map([("b", "2"), ("a", "1")])),
        ("zero", Value::Int(0)),
        ("pi", Value::Float(2.75)),
    ])
}

#[test]
fn says_what_go_says() {
    let cases = [
        ("a{{/* note */}}b {{- 1 -}} c", "ab1c"),
        ("{{if .zero}}x{{else if .name}}y{{else}}z{{end}}", "y"),
        ("{{with .nothing}}x{{else with .name}}{{.}}{{end}}", "web"),
        ("{{range $i, $e := .list}}{{if eq $e 2}}{{continue}}{{end}}{{$i}}={{$e}} {{end}}", "0=1 2=3 "),
        ("{{range .list}}{{.}}{{break}}{{else}}none{{end}}", "1"),
        ("{{range $k, $v := .map}}{{$k}}{{$v}}{{end}}", "a1b2"),
        ("{{range .nothing}}x{{else}}none{{end}}", "none"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{define \"t\"}}[{{.}}]{{end}}{{template \"t\" .name}}", "[web]"),
        ("{{block \"t\" .pi}}<{{.}}>{{end}}", "<2.75>"),
        ("{{len .list}} {{index .list 1}} {{index .map \"a\"}} {{slice .name 1 2}}", "3 2 1 e"),
        ("{{and 1 0}} {{or 0 \"x\"}} {{not true}}", "0 x false"),
        (
            "{{eq 1 2 1}} {{ne .name \"db\"}} {{lt 1 2}} {{le 2 2}} {{gt 1.5 2.5}} {{ge \"b\" \"a\"}}",
            "true true true true false true",
        ),
        ("{{print 1 2 \"a\" \"b\" 3}} {{println 1}}", "1 2ab3 1\n"),
        ("{{printf \"%s=%05.1f\" .name .pi}}", "web=002.8"),
        ("{{.name | printf \"%q\"}} {{html \"<a>\"}} {{js \"'\"}} {{urlquery \"a b&\"}}", "\"web\" &lt;a&gt; \\' a+b%26"),
        ("{{.map}} {{.list}} {{.map.missing}}|{{.missing}}", "map[a:1 b:2] [1 2 3] |<no value>"),
        ("{{1e3}} {{0x10}} {{'a'}} {{1_000}} {{1.0}} {{10000000.0}}", "1000 16 97 1000 1 1e+07"),
        ("{{(index .map \"b\") | len}}", "1"),
        ("{{`raw\\n`}}{{\"\\u00e9\"}}", "raw\\né"),
        ("{{- /* a */ -}}\n x", "x"),
        ("{{$.name}}{{with 1}}{{$.name}}{{end}}", "webweb"),
    ];
    for (text, expected) in cases {
        assert_eq!(run(text, &data()).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors_are_gos() {
    let cases = [
        ("{{", "template: test:1: unclosed action"),
        ("{{\u{a0}}}", "template: test:1: unrecognized character in action: U+00A0"),
        ("a\n{{if 1}}", "template: test:2: unexpected EOF"),
        ("{{end}}", "template: test:1: unexpected {{end}}"),
        ("{{foo}}", "template: test:1: function \"foo\" not defined"),
        ("{{$x}}", "template: test:1: undefined variable \"$x\""),
        ("{{break}}", "template: test:1: {{break}} outside {{range}}"),
        ("{{1 | 2}}", "template: test:1: non executable command in pipeline stage 2"),
        ("{{(1}}", "template: test:1: unclosed left paren"),
        ("{{\"a}}", "template: test:1: unterminated quoted string"),
        ("{{/* x }}", "template: test:1: unclosed comment"),
        ("{{if}}{{end}}", "template: test:1: missing value for if"),
        ("{{template \"no\"}}", "template: test:1:11: executing \"test\" at <{{template \"no\"}}>: template \"no\" not defined"),
        ("{{.name.first}}", "template: test:1:7: executing \"test\" at <.name.first>: can't evaluate field first in type string"),
        ("{{len 3}}", "template: test:1:2: executing \"test\" at <len 3>: error calling len: len of type int"),
        (
            "{{index .list 5}}",
            "template: test:1:2: executing \"test\" at <index .list 5>: error calling index: index out of range: 5",
        ),
        (
            "{{lt 1 \"a\"}}",
            "template: test:1:2: executing \"test\" at <lt 1 \"a\">: error calling lt: incompatible types for comparison",
        ),
        ("{{not}}", "template: test:1:2: executing \"test\" at <not>: wrong number of args for not: want 1 got 0"),
        ("{{printf 1}}", "template: test:1:9: executing \"test\" at <1>: expected string; found 1"),
        (
            "{{range .zero}}{{end}}{{range .pi}}{{end}}",
            "template: test:1:30: executing \"test\" at <.pi>: range can't iterate over 2.75",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(run(text, &data()), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn missing_keys_follow_the_option() {
    let set = |option| {
        let mut set = Template::text().missing_key(option);
        set.add("t", "{{.map.x}}", &NoFunctions).unwrap();
        set.execute("t", &data(), &NoFunctions).map_err(|error| error.to_string())
    };
    assert_eq!(set(MissingKey::Zero).as_deref(), Ok(""));
    assert_eq!(set(MissingKey::Default).as_deref(), Ok("<no value>"));
    let error = "template: t:1:6: executing \"t\" at <.map.x>: map has no entry for key \"x\"";
    assert_eq!(set(MissingKey::Error), Err(error.to_owned()));
}

#[test]
fn bombs_are_refused() {
    let bombs = [
        "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}".to_owned(),
        "{{range 1000}}{{range 1000}}{{range 1000}}x{{end}}{{end}}{{end}}".to_owned(),
        "{{range 100000000}}{{end}}".to_owned(),
        "{{$x := \"aaaaaaaaaaaaaaaa\"}}{{range 60}}{{$x = printf \"%s%s\" $x $x}}{{end}}".to_owned(),
        "{{printf \"%1000000d%1000000d%1000000d%1000000d%1000000d\" 1 2 3 4 5}}".to_owned(),
        format!("{{{{{}1{}}}}}", "(".repeat(10_000), ")".repeat(10_000)),
        "{{if 1}}".repeat(10_000),
    ];
    for bomb in bombs {
        assert!(run(&bomb, &data()).is_err());
    }
}

#[test]
fn later_definitions_replace_earlier_ones() {
    let mut set = Template::text();
    set.add("a", "{{define \"x\"}}old{{end}}", &NoFunctions).unwrap();
    set.add("b", "{{define \"x\"}}new{{end}}", &NoFunctions).unwrap();
    set.add("c", "{{template \"x\"}}", &NoFunctions).unwrap();
    assert_eq!(set.execute("c", &Value::Nil, &NoFunctions).as_deref(), Ok("new"));
    assert!(set.add("d", "{{define \"y\"}}1{{end}}{{define \"y\"}}2{{end}}", &NoFunctions).is_err());
}
