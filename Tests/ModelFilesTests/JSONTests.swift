import TestSupport
import Testing

@testable import ModelFiles

private func parse(_ text: String, maximumDepth: Int = 64) throws(JSONError) -> JSONValue {
    try JSONValue(parsing: Array(text.utf8), maximumDepth: maximumDepth)
}

@Suite struct `JSON` {
    @Test func `every kind of value is read`() throws {
        let value = try parse(#" {"a":[1,-2.5e3,true,false,null,"x\n\u00e9\ud83d\ude00\/"],"b":{}} "#)
        let array = try #require(value["a"]?.arrayValue)
        #expect(array[0] == .integer(1))
        #expect(array[1] == .number(-2500))
        #expect(array[2].booleanValue == true)
        #expect(array[3].booleanValue == false)
        #expect(array[4] == .null)
        #expect(array[5].stringValue == "x\né😀/")
        #expect(value["b"]?.objectValue?.count == 0)
        #expect(value["c"] == nil)
    }

    @Test func `numbers are exact`() throws {
        #expect(try parse("9223372036854775807") == .integer(.max))
        #expect(try parse("-9223372036854775808") == .integer(.min))
        #expect(try parse("9223372036854775808") == .number(0x1p63))
        #expect(try parse("0.1") == .number(0.1))
        #expect(try parse("5e-324") == .number(.leastNonzeroMagnitude))
        #expect(try parse("1.7976931348623157e308") == .number(.greatestFiniteMagnitude))
        #expect(try parse("-0").doubleValue?.sign == .minus)
        #expect(throws: JSONError(offset: 1, problem: .numberOutOfRange)) { try parse("[1e999]") }
    }

    @Test(arguments: ["01", "-", "1.", ".5", "+1", "1e", "1e+", "0x1", "NaN", "Infinity", "-a", "1.e5"])
    func `malformed numbers are refused`(text: String) {
        #expect(throws: JSONError.self) { try parse(text) }
    }

    @Test(arguments: [
        "", " ", "{", "[", "[1,]", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "[1 2]", "tru", "truee", "nul", "'a'",
        "\"a",
        "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\t\"",
        "1 1",
        "[1]//", "\u{FEFF}1", "{\"a\":}", "[,1]", "\u{A0}1",
    ])
    func `malformed texts are refused`(text: String) {
        #expect(throws: JSONError.self) { try parse(text) }
    }

    @Test func `errors say where`() {
        #expect(throws: JSONError(offset: 4, problem: .unexpectedByte(0x5D, wanted: "a value"))) {
            try parse("[1, ]")
        }
        #expect(throws: JSONError(offset: 2, problem: .notUTF8)) {
            try JSONValue(parsing: [0x22, 0x61, 0xFF, 0x22])
        }
        #expect(throws: JSONError(offset: 7, problem: .duplicateKey("a"))) { try parse(#"{"a":1,"a":2}"#) }
        #expect(throws: JSONError(offset: 12, problem: .duplicateKey("a"))) {
            try parse(#"{"\u0061":1,"a":2}"#)
        }
    }

    @Test func `canonically equivalent keys are two keys`() throws {
        let value = try parse("{\"\u{E9}\":1,\"e\u{301}\":2}")
        #expect(value["\u{E9}"] == .integer(1))
        #expect(value["e\u{301}"] == .integer(2))
        #expect(JSONValue.string("\u{E9}") != .string("e\u{301}"))
    }

    @Test func `depth is limited`() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(throws: Never.self) { try parse(nested(64)) }
        #expect(throws: JSONError(offset: 64, problem: .nestedTooDeeply(limit: 64))) { try parse(nested(65)) }
        #expect(throws: JSONError.self) { try parse(String(repeating: "{\"a\":", count: 100_000)) }
    }

    @Test func `what is written reads back`() throws {
        let text = #"{"a":[1,-2.5,1e+300,true,null,"\"\\\n\r\t\u0001é😀"],"":{}}"#
        let value = try parse(text)
        #expect(String(decoding: try value.serialized(), as: UTF8.self) == text)
        #expect(try JSONValue(parsing: value.serialized()) == value)
        #expect(throws: JSONError.self) { try JSONValue.array([.number(.nan)]).serialized() }
        #expect(throws: JSONError.self) { try JSONValue.number(-.infinity).serialized() }
    }

    @Test func `every truncation is an error`() {
        let bytes = Array(#"{"a":[1,-2.5,true,null,"x\n\u00e9é"],"b":{"c":{}}}"#.utf8)
        for count in 0..<bytes.count {
            #expect(throws: JSONError.self) { try JSONValue(parsing: Array(bytes[..<count])) }
        }
    }

    @Test func `twenty thousand damaged texts are refused or read`() {
        let bytes = Array(#"{"a":[1,-2.5e3,true,null,"x\n\u00e9\ud83d\ude00é"],"b":{"c":[[],{}]}}"#.utf8)
        var generator = SeededGenerator(seed: 1)
        var readCount = 0
        for _ in 0..<20_000 {
            do {
                let value = try JSONValue(parsing: generator.mutation(of: bytes, in: 0..<bytes.count))
                #expect(try JSONValue(parsing: value.serialized()) == value)
                readCount += 1
            } catch {
                if "\(error)".isEmpty { Issue.record(error) }
            }
        }
        #expect((100..<19_900).contains(readCount))
    }
}
