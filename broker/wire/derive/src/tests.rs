//! A mistake in the attributes does not compile, and says what it is. What they mean is tested with the messages.

use crate::expand::message;
use syn::{DeriveInput, parse_quote};

fn refusal(input: DeriveInput) -> String {
    message(&input).expect_err("should be refused").to_string()
}

#[test]
fn versions_are_in_kafkas_notation() {
    for versions in ["", "3-", "-3", "+", "3+4", "5-4", "x", "3..4", "40000"] {
        let said = refusal(parse_quote! { struct M { #[wire(versions = #versions)] field: i32 } });
        assert_eq!(said, "versions look like \"3\", \"3+\" or \"0-12\"", "{versions}");
    }
}

#[test]
fn options_and_nullable_go_together() {
    let said = refusal(parse_quote! { struct M { field: Option<Str> } });
    assert_eq!(said, "an Option says in which versions it is nullable");
    let said = refusal(parse_quote! { struct M { #[wire(nullable = "3+")] field: Str } });
    assert_eq!(said, "a nullable field is an Option");
}

#[test]
fn a_tag_is_given_once() {
    let said = refusal(
        parse_quote! { struct M { #[wire(tag = 0)] a: i32, #[wire(tag = 1)] b: i32, #[wire(tag = 0)] c: i32 } },
    );
    assert_eq!(said, "the tag is taken");
    assert_eq!(refusal(parse_quote! { struct M { #[wire(tag = 0, tag = 1)] a: i32 } }), "said twice");
}

#[test]
fn misspelt_attributes_are_named() {
    let said = refusal(parse_quote! { struct M { #[wire(version = "3+")] field: i32 } });
    assert_eq!(said, "a field takes versions, nullable, tag and default");
    let said = refusal(parse_quote! { #[wire(requests = Produce)] struct M { field: i32 } });
    assert_eq!(said, "a struct takes request, response, versions and flexible");
}

#[test]
fn a_struct_has_one_role() {
    let rows: [(DeriveInput, &str); 5] = [
        (parse_quote! { #[wire(request = A)] struct M {} }, "a request says its versions"),
        (
            parse_quote! { #[wire(response = A, versions = "0")] struct M {} },
            "a response has the versions of its request: leave them out",
        ),
        (parse_quote! { #[wire(request = A, response = A, versions = "0")] struct M {} }, "either request or response"),
        (parse_quote! { #[wire(flexible = "1+")] struct M {} }, "flexible without versions"),
        (
            parse_quote! { #[wire(versions = "0-3", flexible = "1-2")] struct M {} },
            "flexible versions have no end: \"9+\"",
        ),
    ];
    for (input, said) in rows {
        assert_eq!(refusal(input), said);
    }
}

#[test]
fn only_structs_with_names_are_messages() {
    assert_eq!(refusal(parse_quote! { enum M { A } }), "a message is a struct");
    assert_eq!(refusal(parse_quote! { struct M(i32); }), "a message has named fields");
}
