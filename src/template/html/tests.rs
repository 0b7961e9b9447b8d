//! Contexts by example; the expectations are Go's.

use crate::template::{Functions, NoFunctions, Safe, Scope, Signature, Template, Value};

/// Functions that make typed strings.
struct Typed;

impl Functions for Typed {
    fn signature(&self, name: &str) -> Option<Signature> {
        name.starts_with("safe").then_some(Signature { params: &["string"], variadic: false })
    }

    fn call(&self, name: &str, args: &[Value], _scope: &Scope<'_>) -> Result<Value, String> {
        let kind = match name {
            "safeHtml" => Safe::Html,
            "safeUrl" => Safe::Url,
            "safeCss" => Safe::Css,
            _ => Safe::Js,
        };
        Ok(Value::safe(kind, args[0].as_text().unwrap_or("")))
    }
}

fn run(text: &str) -> Result<String, String> {
    let data = Value::map([
        ("H", Value::from("<b>&\"'+ x")),
        ("U", Value::from("a b/c?d=e&f")),
        ("J", Value::from("javascript:alert(1)")),
        ("N", Value::Int(42)),
        ("L", Value::list([Value::from("<a>"), Value::Int(1)])),
        ("T", Value::Bool(true)),
        ("F", Value::Bool(false)),
        ("C", Value::from("red")),
        ("E", Value::from("expression(1)")),
    ]);
    let mut set = Template::html();
    set.add("t", text, &Typed).map_err(|error| error.to_string())?;
    set.execute("t", &data, &Typed).map_err(|error| error.to_string())
}

#[test]
fn each_place_escapes_in_its_way() {
    let cases = [
        ("{{.H}}", "&lt;b&gt;&amp;&#34;&#39;&#43; x"),
        ("{{.H | safeHtml}}", "<b>&\"'+ x"),
        ("<a title=\"{{.H}}\">", "<a title=\"&lt;b&gt;&amp;&#34;&#39;&#43; x\">"),
        ("<a title='{{.H | safeHtml}}'>", "<a title='&&#34;&#39;&#43; x'>"),
        ("<a title={{.H}}>", "<a title=&lt;b&gt;&amp;&#34;&#39;&#43;&#32;x>"),
        ("<a href=\"{{.U}}\">", "<a href=\"a%20b/c?d=e&amp;f\">"),
        ("<a href=\"/x?q={{.U}}\">", "<a href=\"/x?q=a%20b%2fc%3fd%3de%26f\">"),
        ("<a href=\"{{.J}}\">", "<a href=\"#ZgotmplZ\">"),
        ("<a href=\"{{.missing}}{{.J}}\">", "<a href=\"#ZgotmplZ\">"),
        ("<a href=\"{{.J | safeUrl}}\">", "<a href=\"javascript:alert%281%29\">"),
        ("<a href={{.U}}>", "<a href=a%20b/c?d&#61;e&amp;f>"),
        ("<a href=\"/a/{{.J}}\">", "<a href=\"/a/javascript:alert%281%29\">"),
        ("<a onclick=\"f({{.H}}, {{.N}})\">", "<a onclick=\"f(&#34;\\u003cb\\u003e\\u0026\\&#34;&#39;&#43; x&#34;,  42 )\">"),
        (
            "<script>var x = {{.L}}; var y = {{.N}};</script>{{.N}}",
            "<script>var x = [\"\\u003ca\\u003e\",1]; var y =  42 ;</script>42",
        ),
        ("<script>var x = \"{{.H}}\";</script>", "<script>var x = \"\\u003cb\\u003e\\u0026\\u0022\\u0027\\u002b x\";</script>"),
        ("<script>x = 1 / {{.N}}</script>", "<script>x = 1 /  42 </script>"),
        ("<script type=\"text/plain\">{{.H}}</script>", "<script type=\"text/plain\">&lt;b&gt;&amp;&#34;&#39;&#43; x</script>"),
        ("<style>p { color: {{.C}} }</style>", "<style>p { color: red }</style>"),
        ("<style>p { color: {{.E}} }</style>", "<style>p { color: ZgotmplZ }</style>"),
        (
            "<p style=\"color: {{.C}}; background: url('{{.U}}')\">",
            "<p style=\"color: red; background: url('a%20b/c?d=e&amp;f')\">",
        ),
        ("<textarea>{{.H}}</textarea>", "<textarea>&lt;b&gt;&amp;&#34;&#39;&#43; x</textarea>"),
        ("a<!-- {{.H}} -->b", "ab"),
        ("1 < 2 <b>", "1 &lt; 2 <b>"),
        ("<!DOCTYPE html><p>", "<!DOCTYPE html><p>"),
        ("{{if .T}}<a href=\"{{else}}<a href=\"/x{{end}}\">", "<a href=\"\">"),
        ("{{range .L}}<li>{{.}}</li>{{end}}", "<li>&lt;a&gt;</li><li>1</li>"),
        (
            "{{define \"x\"}}{{.}}{{end}}<a href=\"/?{{template \"x\" .U}}\">{{template \"x\" .U}}</a>",
            "<a href=\"/?a%20b%2fc%3fd%3de%26f\">a b/c?d=e&amp;f</a>",
        ),
        ("{{.H | html}}", "&lt;b&gt;&amp;&#34;&#39;&#43; x"),
        ("<a href=\"/?q={{.U | urlquery}}\">", "<a href=\"/?q=a%20b%2fc%3fd%3de%26f\">"),
        ("<img {{.C}}=1>", "<img red=1>"),
        ("<img {{.H}}=1>", "<img ZgotmplZ=1>"),
        ("{{$x := .H}}{{$x}}{{.missing}}", "&lt;b&gt;&amp;&#34;&#39;&#43; x"),
        ("<input value={{.N}} {{if .T}}checked{{end}}>", "<input value=42 checked>"),
    ];
    for (text, expected) in cases {
        assert_eq!(run(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_escaped_is_refused() {
    let cases = [
        ("<a href=\"{{.U}}", "ends in a non-text context"),
        ("{{if .T}}<a href=\"{{end}}", "branches end in different contexts"),
        ("{{range .L}}<a {{end}}", "different contexts"),
        ("<a href=\"{{if .T}}/x{{else}}/y?z={{end}}{{.U}}\">", "ambiguous context within a URL"),
        ("<a title=a\"b{{.N}}>", "in unquoted attr"),
        ("{{range .L}}<a title=\"{{break}}\">{{end}}", "at range loop {{break}}"),
    ];
    for (text, words) in cases {
        let error = run(text).expect_err(text);
        assert!(error.contains(words), "{text}: {error}");
        assert!(error.starts_with("html/template:t"), "{error}");
    }
}

#[test]
fn plain_text_passes_without_functions() {
    let mut set = Template::html();
    set.add("t", "<p class=\"a\">x</p>\n", &NoFunctions).unwrap();
    assert_eq!(set.execute("t", &Value::Nil, &NoFunctions).as_deref(), Ok("<p class=\"a\">x</p>\n"));
}
