import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `attend models` {
    private let command: Command
    private var environment: [String: String] { ["XDG_CACHE_HOME": command.folder, "HF_HOME": "\(command.folder)/hf"] }
    private var models: String { "\(command.folder)/swift-attention/models" }

    init() throws {
        command = try Command()
        try FileManager.default.createDirectory(atPath: models, withIntermediateDirectories: true)
        try Data(TinyLlama().contents.bytes).write(to: URL(fileURLWithPath: "\(models)/tiny.gguf"))
        try TinyBERT().write(to: "\(models)/bert")
        try TinyBERT().writeSentenceFiles(to: "\(models)/bert")
        try Data("no model".utf8).write(to: URL(fileURLWithPath: "\(models)/broken.gguf"))
    }

    @Test func `lists what is there, the broken ones with their reasons`() throws {
        let result = try command.run("models", environment: environment)
        #expect(result.status == 0, "\(result.error)")
        let lines = result.output.split(separator: "\n").map(String.init)
        try #require(lines.count == 3)
        #expect(lines[0].hasPrefix("bert ") && lines[0].contains("embedding, bert"))
        #expect(lines[1].hasPrefix("broken.gguf") && lines[1].contains("cannot be used: GGUF file"))
        #expect(lines[2].hasPrefix("tiny.gguf") && lines[2].contains("language, llama"))
        let json = try command.run("models", "list", "--json", environment: environment).json().arrayValue ?? []
        #expect(json.compactMap { $0["name"]?.stringValue } == ["bert", "broken.gguf", "tiny.gguf"])
        #expect(json[1]["problem"] != nil && json[2]["problem"] == nil)
        let nothing = try command.run("models", environment: ["XDG_CACHE_HOME": "/absent", "HF_HOME": "/absent"])
        #expect(nothing.status == 0 && nothing.output.isEmpty && nothing.error.contains("fetch-model"))
    }

    @Test func `describes one by its headers`() throws {
        let json = try command.run("models", "info", "tiny", "--tensors", "--json", environment: environment).json()
        let tensors = json["tensors"]?.arrayValue ?? []
        #expect(json["family"]?.stringValue == "llama" && json["purpose"]?.stringValue == "language")
        #expect(tensors.count == 20 && tensors.contains { $0["name"]?.stringValue == "blk.1.attn_k.weight" })
        let sizes = tensors.map { ($0["shape"]?.arrayValue ?? []).compactMap(\.integerValue).reduce(1, *) }
        #expect(json["parameterCount"]?.integerValue == sizes.reduce(0, +))
        let text = try command.run("models", "info", "bert", environment: environment).output
        #expect(text.contains("family      bert") && text.contains("can be used yes"))
    }

    @Test func `finds damage in weights and hashes`() throws {
        for name in ["tiny", "bert"] {
            let result = try command.run("models", "verify", name, environment: environment)
            #expect(result.status == 0 && result.output.contains("\(name) is whole"), "\(result.error)")
        }
        try command.fail(
            ["models", "verify", "broken"], status: 1, saying: ["GGUF"], environment: environment)
        var damaged = TinyBERT()
        damaged[tensor: "embeddings.LayerNorm.bias"]?[3] = .nan
        damaged[tensor: "encoder.layer.0.output.dense.weight"]?[7] = .infinity
        try damaged.write(to: "\(models)/bert")
        try command.fail(
            ["models", "verify", "bert"], status: 1,
            saying: ["'embeddings.LayerNorm.bias' has 1", "'encoder.layer.0.output.dense.weight' has 1"],
            environment: environment)
        damaged = TinyBERT()
        damaged[tensor: "embeddings.LayerNorm.bias"] = nil
        try damaged.write(to: "\(models)/bert")
        try command.fail(
            ["models", "verify", "bert"], status: 1, saying: ["lacks embeddings.LayerNorm.bias"],
            environment: environment)

        // SHA-256 and git's SHA-1 of the file, as sha256sum and git hash-object print them.
        let repository = "\(command.folder)/hf/hub/models--o--n"
        let files = FileManager.default
        for name in ["blobs", "snapshots/c0ffee"] {
            try files.createDirectory(atPath: "\(repository)/\(name)", withIntermediateDirectories: true)
        }
        let link = "\(repository)/snapshots/c0ffee/tiny.gguf"
        let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(models)/tiny.gguf"))
        func hash(_ line: String) throws -> String {
            String(try command.shell(line).output.prefix { $0 != " " && $0 != "\n" })
        }
        for digits in [
            try hash("sha256sum '\(models)/tiny.gguf'"),
            try hash("(printf 'blob \(bytes.count)\\0'; cat '\(models)/tiny.gguf') | sha1sum"),
        ] {
            let blob = "\(repository)/blobs/\(digits)"
            try? files.removeItem(atPath: link)
            try bytes.write(to: URL(fileURLWithPath: blob))
            try files.createSymbolicLink(atPath: link, withDestinationPath: "../../blobs/\(digits)")
            let result = try command.run("models", "verify", "o/n@c0ffee:tiny.gguf", environment: environment)
            #expect(result.status == 0 && result.output.contains("1 hashes as they should be"), "\(result.error)")
            var changed = bytes
            changed[bytes.count - 3] ^= 1
            try changed.write(to: URL(fileURLWithPath: blob))
            try command.fail(
                ["models", "verify", "o/n@c0ffee:tiny.gguf"], status: 1, saying: ["has the hash", digits],
                environment: environment)
        }
    }

    @Test func `continues the lines of a file, and goes on after an interruption`() throws {
        let prompts = "\(command.folder)/prompts.txt"
        let output = "\(command.folder)/texts.jsonl"
        let lines = (0..<40).map { "hello \($0)" }
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: prompts))
        let call = ["generate", "--model", "tiny", "--prompts", prompts, "--output", output, "--count", "3"]
        #expect(try command.run(call, environment: environment).status == 0)
        let whole = try Data(contentsOf: URL(fileURLWithPath: output))
        let records = try String(decoding: whole, as: UTF8.self).split(separator: "\n").map {
            try JSONValue(parsing: Array($0.utf8))
        }
        #expect(records.compactMap { $0["prompt"]?.stringValue } == lines)
        #expect(Set(records.compactMap { $0["continuation"]?.stringValue }).count > 20)
        // Whatever part of it an interrupted run left, the next ends in the same bytes.
        let inCharacter = try #require(whole.indices.first { whole[$0] >= 0xC0 }) + 1
        for kept in [0, 17, inCharacter, whole.count - 1] {
            try whole.prefix(kept).write(to: URL(fileURLWithPath: output))
            let result = try command.run(call, environment: environment)
            #expect(result.status == 0, "\(result.error)")
            #expect(try Data(contentsOf: URL(fileURLWithPath: output)) == whole, "\(kept)")
        }
        try Data("{\"prompt\": \"other\"}\n".utf8).write(to: URL(fileURLWithPath: output))
        try command.fail(call, status: 1, saying: ["begun with other prompts", "line 1"], environment: environment)
        try Data("a\n\nb\n".utf8).write(to: URL(fileURLWithPath: prompts))
        try command.fail(call, status: 1, saying: ["line 2", "is empty"], environment: environment)
        try command.fail(["generate", "a", "--prompts", prompts], status: 64, saying: ["--prompts"])
        try command.fail(["generate", "--prompts", prompts], status: 64, saying: ["--output"])
        try command.fail(["generate"], status: 64, saying: ["--prompts"])
    }
}
