import Foundation
import ModelFiles
import PretrainedModels
import TestSupport
import Testing

@testable import AttentionInspection

@Suite struct `Renderings of an explanation` {
    private let model: LanguageModel
    private let explanation: Explanation
    private let json: JSONValue

    init() throws {
        model = try LanguageModel(TinyLlama().contents.file(path: "tiny.gguf"))
        explanation = try model.explanation(
            of: "The hellos, when 3.5 o'clock", target: .word("3.5"), options: ExplanationOptions(layer: 1, head: 2))
        json = try JSONValue(parsing: Array(explanation.json().utf8))
    }

    @Test func `JSON has the documented fields`() throws {
        func keys(_ value: JSONValue?) -> Set<String> { Set(value?.objectValue?.members.map(\.key) ?? []) }
        #expect(keys(json) == ["model", "scope", "unit", "target", "words", "nextWords", "notes", "steps"])
        #expect(keys(json["target"]) == ["index", "text"])
        let words = try #require(json["words"]?.arrayValue)
        let fields: Set<String> = [
            "text", "attention", "attentionWithoutSink", "contribution", "effect", "isSink", "isVisible",
        ]
        for word in words { #expect(keys(word) == fields) }
        for prediction in try #require(json["nextWords"]?.arrayValue) {
            #expect(keys(prediction) == ["text", "probability"])
        }
        #expect(
            keys(json["steps"]) == [
                "layer", "head", "keyValueHead", "headsSharingKeys", "queryPosition", "queryText", "similarity",
                "scale", "queryBeforeRotation", "query", "keys", "output", "projectedOutput",
            ])
        let key: Set<String> = [
            "position", "text", "word", "keyBeforeRotation", "key", "value", "dotProduct", "scaled", "masked",
            "weight", "weightedValue",
        ]
        let queryPosition = try #require(json["steps"]?["queryPosition"]?.integerValue)
        for (index, step) in try #require(json["steps"]?["keys"]?.arrayValue).enumerated() {
            // What the mask hides has no score after it.
            #expect(keys(step) == key)
            #expect((step["masked"] == .null) == (index > queryPosition))
        }
    }

    @Test func `JSON holds the very numbers`() throws {
        #expect(json["model"]?.stringValue == "tiny")
        #expect(json["target"]?["index"]?.integerValue == 4)
        #expect(json["target"]?["text"]?.stringValue == "3.5")
        for (word, value) in zip(explanation.words, try #require(json["words"]?.arrayValue)) {
            #expect(value["text"]?.stringValue == word.text)
            #expect(value["attention"]?.doubleValue == word.attention)
            #expect(value["attentionWithoutSink"]?.doubleValue == word.attentionWithoutSink)
            #expect(value["contribution"]?.doubleValue == word.contribution)
            #expect(value["effect"]?.doubleValue == word.effect)
            #expect(value["isSink"]?.booleanValue == word.isSink)
            #expect(value["isVisible"]?.booleanValue == word.isVisible)
        }
        let steps = try #require(explanation.steps)
        let keys = try #require(json["steps"]?["keys"]?.arrayValue)
        #expect(keys.count == steps.keys.count)
        func floats(_ value: JSONValue?) -> [Float]? {
            value?.arrayValue?.compactMap { $0.doubleValue.map { Float($0) } }
        }
        #expect(floats(json["steps"]?["query"]) == steps.query)
        #expect(floats(json["steps"]?["output"]) == steps.output)
        for (key, value) in zip(steps.keys, keys) {
            #expect(floats(value["key"]) == key.key)
            #expect(floats(value["value"]) == key.value)
            #expect(value["weight"]?.doubleValue == key.weight)
        }
    }

    @Test func `a field without a value is null`() throws {
        let explanation = try model.explanation(of: "a b c", options: ExplanationOptions(effect: .never))
        let json = try JSONValue(parsing: Array(explanation.json().utf8))
        #expect(json["steps"] == nil)
        #expect(json["words"]?.arrayValue?.allSatisfy { $0["effect"] == .null } == true)
    }

    @Test func `the picture shows the numbers of the JSON, to the printed digit`() throws {
        let lines = explanation.text().split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        #expect(lines.first == "tiny: what \"3.5\" (word 4) attends to, layer 1, head 2")
        for (index, word) in try #require(json["words"]?.arrayValue).enumerated() {
            let text = try #require(word["text"]?.stringValue)
            let line = try #require(lines.first { $0.dropFirst(2).hasPrefix(" \(index) \(text)") })
            guard word["isVisible"]?.booleanValue == true else {
                #expect(line.contains("comes later"))
                continue
            }
            #expect(line.hasPrefix("▸") == (index == 4))
            let share = try #require(word["attentionWithoutSink"]?.doubleValue ?? word["attention"]?.doubleValue)
            let contribution = try #require(word["contribution"]?.doubleValue)
            let effect = try #require(word["effect"]?.doubleValue)
            let tail = String(format: "%5.1f %%       %7.3f", 100 * contribution, effect)
            #expect(line.hasSuffix(tail), "\(line)")
            let isSink = word["isSink"]?.booleanValue == true
            #expect(line.contains(String(format: " %5.1f %% ", 100 * share)) != isSink, "\(line)")
        }
        let predictions = try #require(json["nextWords"]?.arrayValue).map { prediction in
            "\"\((prediction["text"]?.stringValue ?? "").printable)\" "
                + String(format: "%.1f %%", 100 * (prediction["probability"]?.doubleValue ?? 0))
        }
        #expect(lines.contains("Most likely after \"3.5\": \(predictions.joined(separator: ", "))"))
    }

    @Test func `the ladder shows the numbers of the JSON, to the printed digit`() throws {
        let steps = try #require(explanation.steps)
        let text = steps.text()
        let lines = text.split(separator: "\n").map(String.init)
        let json = try #require(json["steps"])
        for key in try #require(json["keys"]?.arrayValue) {
            func number(_ name: String) throws -> String {
                String(format: "%12.6f", try #require(key[name]?.doubleValue))
            }
            let masked = key["masked"] == .null ? "          −∞" : try number("masked")
            let row = try "\(number("dotProduct")) \(number("scaled")) \(masked) \(number("weight"))"
            let position = String(format: "%4d ", Int(try #require(key["position"]?.integerValue)))
            #expect(lines.contains { $0.hasPrefix(position) && $0.hasSuffix(row) }, "\(row)")
            for name in ["keyBeforeRotation", "key", "value", "weightedValue"] {
                let first = try #require(key[name]?.arrayValue?.first?.doubleValue)
                // JSON has the shortest digits that give the same Float.
                let start = String(format: "[%9.5f ", Double(Float(first)))
                #expect(lines.contains { $0.hasPrefix(position) && $0.contains(start) }, "\(name) \(start)")
            }
        }
        #expect(text.contains("Layer 1, head 2"))
        #expect(text.contains("key-value head 1, shared by query heads 2, 3"))
        #expect(text.contains("(scaled-dot, scale 0.353553)") && text.contains("  before rotation  ["))
        #expect(text.contains("         q·k      × scale   after mask    softmax α"))
        #expect(text.contains("Σ α·v"))
    }

    @Test func `escape sequences come only with style, and change no letter`() {
        let plain = explanation.text(style: .plain) + (explanation.steps?.text(style: .plain) ?? "")
        let colored = explanation.text(style: .ansi) + (explanation.steps?.text(style: .ansi) ?? "")
        #expect(!plain.contains("\u{1B}"))
        #expect(colored.contains("\u{1B}[1m"))
        var stripped = colored
        for code in ["0", "1", "2", "36"] { stripped = stripped.replacingOccurrences(of: "\u{1B}[\(code)m", with: "") }
        #expect(stripped == plain)
    }

    @Test func `figures stand under each other whatever the words are`() throws {
        let explanation = try model.explanation(of: "a 京都市 e\u{301} 👍🏽 end")
        let lines = explanation.text().split(separator: "\n").map(String.init)
        let rows = lines.filter { $0.contains(" %") && $0.first.map { $0 == " " || $0 == "▸" } == true }
        #expect(rows.count == explanation.words.count)
        #expect(Set(rows.map(\.displayWidth)).count == 1, "\(rows)")
    }

    @Test(arguments: [0, 20, 80, 200, 10_000]) func `fits any width`(width: Int) {
        let lines = explanation.text(width: width).split(separator: "\n")
        let rows = lines.filter { $0.contains("▸") }
        #expect(rows.count == 1)
        if width >= 80 { #expect(rows.allSatisfy { String($0).displayWidth <= width }) }
    }

    @Test func `control characters of the sentence do not reach the terminal`() throws {
        let sentence = "a\u{1B}[31m b\u{7}\rc \u{202E}d e"
        let explanation = try model.explanation(of: sentence, options: ExplanationOptions(layer: 0, head: 0))
        let text = explanation.text() + (explanation.steps?.text() ?? "")
        let forbidden = text.unicodeScalars.filter {
            $0 != "\n" && ($0.value < 0x20 || 0x7F..<0xA0 ~= $0.value || 0x202A...0x202E ~= $0.value)
        }
        #expect(forbidden.isEmpty)
        #expect(text.contains("␛["))
        // The JSON holds the text as it is.
        let json = try JSONValue(parsing: Array(explanation.json().utf8))
        #expect(json["words"]?.arrayValue?.contains { $0["text"]?.stringValue?.contains("\u{1B}") == true } == true)
    }
}
