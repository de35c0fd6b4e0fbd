import Foundation
import ModelFiles
import TestSupport
import Testing

@Suite struct `attend train` {
    private let command: Command
    private let corpus: String

    init() throws {
        command = try Command()
        corpus = try command.write(
            "corpus.txt", (0..<40).map { "The cat number \($0 * 7 % 40) sat on the mat.\n" }.joined())
    }

    /// The arguments of a run that takes no time.
    private func arguments(_ folder: String, _ more: [String] = [], model: String = "gru") -> [String] {
        [
            "train", corpus, "--output", "\(command.folder)/\(folder)", "--model", model, "--width", "8", "--layers",
            "1", "--context", "9", "--batch", "2",
        ] + more
    }

    private func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: "\(command.folder)/\(name)")))
    }

    @Test func `trains, generates and explains`() throws {
        let result = try command.run(arguments("run", ["--steps", "5"]))
        #expect(result.status == 0)
        #expect(result.output.hasPrefix("\(command.folder)/run: 5 steps, loss "))
        // Plain lines, where nobody sees a terminal.
        #expect(!result.error.contains("\r") && !result.error.contains("\u{1B}"))
        #expect(result.error.contains("Training a gru of"))
        #expect(result.error.contains("100 % step 5/5  loss "))

        let written = try command.run("generate", "--model", "\(command.folder)/run", "The cat", "--count", "9")
        #expect(written.status == 0 && written.output.hasPrefix("The cat") && written.output.hasSuffix("\n"))
        #expect(
            try command.run("generate", "--model", "\(command.folder)/run", "The cat", "--count", "9").output
                == written.output)
        let other = try command.run(
            "generate", "--model", "\(command.folder)/run", "The cat", "--count", "9", "--seed", "2")
        #expect(other.output != written.output)
        let likeliest = try command.run(
            "generate", "--model", "\(command.folder)/run", "-", "--temperature", "0", "--count", "3",
            input: Array("The cat\n".utf8))
        #expect(likeliest.status == 0 && likeliest.output.hasPrefix("The cat"))

        let picture = try command.run("explain", "--model", "\(command.folder)/run", "The cat sat")
        #expect(picture.status == 0 && picture.output.contains("a model without attention"))
        let json = try command.run("explain", "--model", "\(command.folder)/run", "The cat sat", "--json").json()
        let words = try #require(json["words"]?.arrayValue)
        #expect(words.count == 3)
        for word in words {
            guard case .null? = word["attention"] else {
                Issue.record("attention is not null")
                return
            }
            #expect((word["effect"]?.doubleValue ?? -1) >= 0)
        }
        try command.fail(
            ["explain", "--model", "\(command.folder)/run", "The cat sat", "--layer", "0"], status: 64,
            saying: ["no Transformer"])
    }

    @Test(arguments: ["cnn", "tcn", "rnn", "lstm", "mingru", "seq2seq", "lstmn", "transformer"])
    func `trains each model from standard input`(model: String) throws {
        let folder = "\(command.folder)/\(model)"
        let result = try command.run(
            [
                "train", "-", "-o", folder, "--model", model, "--width", "8", "--layers", "1", "--context", "9",
                "--steps", "2",
            ], input: Array(String(repeating: "The FBI is chasing. ", count: 20).utf8))
        #expect(result.status == 0, "\(result.error)")
        #expect(try command.run("generate", "--model", folder, "The FBI", "--count", "2").status == 0)
        let explained = try command.run("explain", "--model", folder, "FBI is")
        #expect(explained.status == 0 && explained.output.contains("FBI"), "\(explained.error)")
    }

    @Test func `takes a folder, and pairs`() throws {
        let folder = "\(command.folder)/texts"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for name in ["b.txt", "a.md"] {
            try Data(String(repeating: "Some text of \(name). ", count: 20).utf8).write(
                to: URL(fileURLWithPath: "\(folder)/\(name)"))
        }
        var call = arguments("run", ["--steps", "2"])
        call[1] = folder
        #expect(try command.run(call).status == 0)
        let pairs = try command.write(
            "pairs.jsonl", (0..<30).map { #"{"source": "ab\#($0 % 9)", "target": "\#($0 % 9)ba"}"# + "\n" }.joined())
        call = arguments("pairs", ["--steps", "2", "--attention", "luong", "--similarity", "cosine"], model: "seq2seq")
        call[1] = pairs
        #expect(try command.run(call).status == 0)
        let written = try command.run("generate", "--model", "\(command.folder)/pairs", "ab1", "--count", "3")
        #expect(written.status == 0 && !written.output.hasPrefix("ab1"))
    }

    @Test func `killed at twenty random moments ends in the same bytes`() throws {
        // Models of every kind of memory would be the same code: one with dropout, accumulation and BPE stands for all.
        let more = [
            "--steps", "60", "--checkpoint-every", "3", "--dropout", "0.2", "--accumulate", "2", "--tokenizer",
            "bpe:265",
        ]
        #expect(try command.run(arguments("whole", more)).status == 0)
        var generator = SeededGenerator(seed: 20)
        var (killed, attempts) = (0, 0)
        while killed < 20 && attempts < 200 {
            attempts += 1
            let process = Process()
            process.executableURL = URL(fileURLWithPath: Command.path)
            process.arguments = arguments("killed", more + ["--resume"])
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            // From before it has read its corpus to some steps on: 20 kills leave a part of the run to the last.
            usleep(UInt32.random(in: 1_000...150_000, using: &generator))
            if kill(process.processIdentifier, SIGKILL) == 0 { killed += 1 }
            process.waitUntilExit()
        }
        #expect(killed == 20)
        let last = try command.run(arguments("killed", more + ["--resume"]))
        #expect(last.status == 0, "\(last.error)")
        for file in ["model.safetensors", "checkpoints/step-00000060/optimizer.safetensors", "tokenizer.json"] {
            #expect(try bytes("whole/\(file)") == bytes("killed/\(file)"), "\(file)")
        }
    }

    @Test func `saves when it is interrupted, and says how to go on`() throws {
        let folder = "\(command.folder)/run"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Command.path)
        process.arguments = arguments("run", ["--minutes", "5"])
        let errors = "\(command.folder)/errors"
        try Data().write(to: URL(fileURLWithPath: errors))
        process.standardError = FileHandle(forWritingAtPath: errors)
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        // Once metrics are written, it is under way.
        for _ in 0..<600 where !FileManager.default.fileExists(atPath: "\(folder)/metrics.jsonl") { usleep(50_000) }
        usleep(300_000)
        kill(process.processIdentifier, SIGINT)
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 130)
        #expect(String(decoding: try bytes("errors"), as: UTF8.self).contains("--resume"))
        #expect(try CheckpointFolder("\(folder)/checkpoints").newestReadable().checkpoint != nil)
        #expect(try command.run("generate", "--model", folder, "The cat", "--count", "2").status == 0)
    }

    @Test func `says what is wrong with a call`() throws {
        let output = ["--output", "\(command.folder)/wrong"]
        try command.fail(["train"] + output, status: 64, saying: ["corpus"])
        try command.fail(["train", corpus], status: 64, saying: ["--output"])
        try command.fail(
            ["train", corpus, "--size", "huge"] + output, status: 64, saying: ["tiny", "small", "medium"])
        try command.fail(
            ["train", corpus, "--model", "gpt"] + output, status: 64, saying: ["cnn", "lstmn", "transformer"])
        try command.fail(["train", corpus, "--similarity", "telepathy"] + output, status: 64, saying: ["cosine"])
        try command.fail(["train", corpus, "--tokenizer", "words"] + output, status: 64, saying: ["--tokenizer"])
        try command.fail(
            ["train", corpus, "--steps", "1", "--minutes", "1"] + output, status: 64, saying: ["not both"])
        try command.fail(["train", corpus, "--steps", "0"] + output, status: 64, saying: ["at least 1"])
        try command.fail(["train", corpus, "--minutes=-1"] + output, status: 64, saying: ["above 0"])
        try command.fail(["train", corpus, "--width", "8", "--heads", "3"] + output, status: 64, saying: ["3 heads"])
        try command.fail(
            ["train", corpus, "--model", "lstm", "--similarity", "cosine"] + output, status: 64, saying: ["similarity"])
        for (model, more, part) in [
            ("tcn", ["--layers", "64", "--width", "2"], "17 are enough"), ("lstm", ["--heads", "2"], "has none"),
            ("lstm", ["--attention", "luong"], "no encoder"), ("gru", ["--clip", "inf"], "clip"),
            ("transformer", ["--width", "2048", "--heads", "2048"], "beyond 1024"),
            ("gru", ["--width", "65536", "--layers", "1000"], "MiB"),
        ] {
            try command.fail(["train", corpus, "--model", model] + more + output, status: 64, saying: [part])
        }
        try command.fail(["train", "-"] + output, status: 64, saying: ["standard input"])
        try command.fail(
            ["train", "\(command.folder)/absent"] + output, status: 1, saying: ["\(command.folder)/absent"])
        let binary = try command.write("binary", [0x54, 0, 0x55])
        try command.fail(["train", binary] + output, status: 1, saying: ["binary", "byte 1"])
        let broken = try command.write("broken.jsonl", #"{"source": "a", "target": "b"}"# + "\n{\"source\": ")
        try command.fail(["train", broken] + output, status: 1, saying: ["broken.jsonl", "line 2"])
        try command.fail(
            ["train", corpus, "--tokenizer", "bpe:9000"] + output, status: 1, saying: ["9000"])
        try command.fail(["train", corpus, "--context", "5000"] + output, status: 1, saying: ["5000", "--context"])
        #expect(!FileManager.default.fileExists(atPath: "\(command.folder)/wrong/run.json"))
    }

    @Test func `does not write over a run, nor resume it otherwise`() throws {
        #expect(try command.run(arguments("run", ["--steps", "2"])).status == 0)
        try command.fail(arguments("run", ["--steps", "2"]), status: 64, saying: ["--resume"])
        try command.fail(
            arguments("run", ["--resume"], model: "lstm"), status: 64, saying: ["model: gru there, lstm asked for"])
        let result = try command.run("train", "--output", "\(command.folder)/run", "--resume")
        #expect(result.status == 0 && result.output.contains("2 steps"))
    }

    @Test func `refuses a text that is longer than the positions that were trained`() throws {
        #expect(try command.run(arguments("run", ["--steps", "1"], model: "transformer")).status == 0)
        let long = String(repeating: "The cat ", count: 9)
        try command.fail(
            ["generate", "--model", "\(command.folder)/run", long], status: 64, saying: ["at most 9"])
        try command.fail(["explain", "--model", "\(command.folder)/run", long], status: 64, saying: ["at most 9"])
        // It writes as far as there are positions.
        #expect(try command.run("generate", "--model", "\(command.folder)/run", "The cat", "--count", "50").status == 0)
    }

    @Test func `says what is wrong with a call of generate`() throws {
        #expect(try command.run(arguments("run", ["--steps", "1"])).status == 0)
        let model = ["generate", "--model", "\(command.folder)/run"]
        try command.fail(model + [""], status: 64, saying: ["empty"])
        try command.fail(model + ["a", "--temperature", "-1"], status: 64, saying: ["--temperature"])
        try command.fail(model + ["a", "--count", "-1"], status: 64, saying: ["--count"])
        try command.fail(
            ["generate", "--model", "\(command.folder)/absent", "a"], status: 1, saying: ["\(command.folder)/absent"])
        try Data("{}".utf8).write(to: URL(fileURLWithPath: "\(command.folder)/run/config.json"))
        try command.fail(model + ["a"], status: 1, saying: ["config.json"])
    }

    @Test func `writes one line anew on a terminal, no wider than it`() throws {
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/script") else { return }
        let call = arguments("run", ["--steps", "5"]).map { "'\($0)'" }.joined(separator: " ")
        let result = try command.shell("TERM=xterm script -qec \"stty cols 60; $ATTEND \(call)\" /dev/null")
        #expect(result.output.contains("\r\u{1B}[2K"))
        let lines = result.output.split(separator: "\u{1B}[2K").dropFirst()
        #expect(lines.dropLast().allSatisfy { $0.filter { $0 != "\r" }.count < 60 })
    }
}
