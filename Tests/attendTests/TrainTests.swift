import Foundation
import ModelFiles
import TestSupport
import Testing

private let sentences = String(
    repeating: "The FBI is chasing a criminal on the run. Who runs, and who is it that they chase? ", count: 8)

/// Words and themselves turned around.
private let pairs = (0..<40).map { number in
    let word = (0...number % 4).map { ["a", "b", "c", "d", "e"][(number * 7 + $0 * $0 * 3) % 5] }.joined()
    return "{\"source\": \"\(word)\", \"target\": \"\(String(word.reversed()))\"}\n"
}.joined()

/// A model of some hundred numbers, with dropout and accumulation.
private let small = ["--width", "6", "--layers", "1", "--batch", "2", "--accumulate", "2", "--dropout", "0.25"]

extension Command {
    fileprivate func contents(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    /// The lines of a run's figures, without those that tell the time.
    fileprivate func figures(_ output: String) throws -> [String] {
        String(decoding: try contents("\(output)/metrics.jsonl"), as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: ",").filter { !$0.contains("tokens per second") }.joined(separator: ",")
        }
    }

    /// Everything that may not depend on whether a run was stopped.
    fileprivate func result(_ output: String) throws -> [String: [UInt8]] {
        let newest = try #require(
            FileManager.default.contentsOfDirectory(atPath: "\(output)/checkpoints").sorted().last)
        var files = ["metrics": Array(try figures(output).joined(separator: "\n").utf8)]
        for name in [
            "model.safetensors", "config.json", "tokenizer.json", "run.json", "checkpoints/\(newest)/model.safetensors",
            "checkpoints/\(newest)/optimizer.safetensors", "checkpoints/\(newest)/state.json",
        ] { files[name] = try contents("\(output)/\(name)") }
        return files
    }
}

private func expectSame(_ found: [String: [UInt8]], _ expected: [String: [UInt8]], _ what: String) {
    #expect(found.keys.sorted() == expected.keys.sorted(), "\(what)")
    for (name, bytes) in expected { #expect(found[name] == bytes, "\(what): \(name) differs") }
}

@Suite struct `attend train` {
    private let command: Command
    private let text: String
    private var output: String { "\(command.folder)/run" }

    init() throws {
        command = try Command()
        text = try command.write("text.txt", sentences)
    }

    private func arguments(
        _ model: String = "gru", steps: Int = 5, corpus: String? = nil, output: String? = nil
    ) -> [String] {
        ["train", corpus ?? text, "--output", output ?? self.output, "--model", model, "--context", "9"] + small
            + ["--steps", "\(steps)"]
    }

    // MARK: - As a user runs it

    @Test func `explains itself, with examples and all names`() throws {
        let result = try command.run("train", "--help")
        #expect(result.status == 0 && result.error.isEmpty)
        for part in [
            "attend train book.txt --output book", "--resume", "--checkpoint-every", "cnn", "tcn", "rnn", "lstm", "gru",
            "mingru", "seq2seq", "lstmn", "transformer", "tiny", "small", "medium", "bpe:N", "one-cycle", "adamw",
        ] {
            #expect(result.output.contains(part), "\(part)")
        }
        for line in result.output.split(separator: "\n") { #expect(line.count <= 100, "\(line)") }
    }

    @Test func `writes plain lines where there is no terminal`() throws {
        let result = try command.run(arguments())
        #expect(result.status == 0)
        #expect(result.output.hasPrefix("\(output): 5 steps, loss ") && result.output.hasSuffix("\n"))
        #expect(result.output.contains(", validation loss ") && result.output.split(separator: "\n").count == 1)
        #expect(!result.error.contains("\r") && !result.error.contains("\u{1B}"))
        let lines = result.error.split(separator: "\n")
        #expect(
            lines.first?.hasPrefix("Training a gru of ") == true
                && lines.first?.contains("(width 6, 1 layers, context 9)") == true)
        let last = try #require(lines.last)
        for part in ["100 % step 5/5  loss ", "validation ", " tokens/s", " left"] { #expect(last.contains(part)) }
    }

    #if os(Linux)
        @Test func `draws one line on a terminal, as wide as there is room`() throws {
            for columns in [40, 120] as [UInt16] {
                let (result, terminal) = try command.runOnTerminal(
                    arguments(output: "\(output)-\(columns)"), columns: columns)
                #expect(result.status == 0)
                // What is drawn anew begins with a return, and with what clears the line.
                let drawings = terminal.components(separatedBy: "\r\u{1B}[2K").dropFirst()
                #expect(drawings.count >= 1)
                for drawing in drawings {
                    let line = drawing.split(separator: "\r\n", omittingEmptySubsequences: false)[0]
                    #expect(line.count < Int(columns) && !line.contains("\n"), "\(line)")
                    #expect(line.hasPrefix("▕"))
                }
                let last = try #require(drawings.last)
                #expect(last.contains("100 %") && last.hasSuffix("\r\n"))
                if columns == 120 { #expect(last.contains("step 5/5") && last.contains("left")) }
            }
        }
    #endif

    @Test func `takes files, folders, standard input and pairs`() throws {
        let folder = "\(command.folder)/texts"
        try FileManager.default.createDirectory(atPath: "\(folder)/more", withIntermediateDirectories: true)
        _ = try command.write("texts/a.txt", sentences)
        _ = try command.write("texts/more/b.md", sentences)
        _ = try command.write("texts/.hidden", [0, 1, 2])
        let sources: [(corpus: String, input: String, tokens: String)] = [
            // The text and its end, less the tenth kept back.
            (text, "", "599 tokens"), (folder, "", "1,197 tokens"), ("-", sentences, "599 tokens"),
            (try command.write("pairs.jsonl", pairs), "", " tokens"), ("-", pairs, " tokens"),
        ]
        for (index, source) in sources.enumerated() {
            for model in ["cnn", "seq2seq"] {
                let output = "\(output)-\(index)-\(model)"
                let result = try command.run(
                    arguments(model, steps: 2, corpus: source.corpus, output: output), input: Array(source.input.utf8))
                #expect(result.status == 0, "\(result.error)")
                #expect(result.error.contains(source.tokens), "\(result.error)")
                let description = try JSONValue(parsing: command.contents("\(output)/config.json"))
                #expect(description["learnedFrom"]?.stringValue == (index < 3 ? "text" : "pairs"))
            }
        }
        #expect(
            try command.contents("\(output)-0-cnn/model.safetensors")
                == command.contents("\(output)-2-cnn/model.safetensors"))
        #expect(
            try command.contents("\(output)-3-seq2seq/model.safetensors")
                == command.contents("\(output)-4-seq2seq/model.safetensors"))
    }

    @Test func `gives the same for any number of threads`() throws {
        for count in [1, 3] {
            #expect(try command.run(arguments(output: "\(output)\(count)") + ["--threads", "\(count)"]).status == 0)
        }
        expectSame(try command.result("\(output)3"), try command.result("\(output)1"), "3 threads")
    }

    // MARK: - What cannot be

    @Test(arguments: [
        (["--model", "perceptron"], ["perceptron", "cnn", "tcn", "mingru", "seq2seq", "lstmn", "transformer"]),
        (["--size", "huge"], ["huge", "tiny", "small", "medium"]),
        (["--attention", "flash"], ["flash", "bahdanau", "luong", "local", "none"]),
        (["--similarity", "telepathy"], ["telepathy", "scaled-dot", "cosine"]),
        (["--schedule", "linear"], ["linear", "constant", "cosine", "one-cycle"]),
        (["--optimizer", "lion"], ["lion", "sgd", "adam", "adamw"]),
        (["--tokenizer", "words"], ["words", "tokenizer"]), (["--tokenizer", "bpe:x"], ["bpe:x"]),
        (["--steps", "0"], ["--steps is 0"]), (["--batch", "-1"], ["--batch"]), (["--width", "x"], ["width"]),
        (["--minutes", "1"], ["--steps or --minutes"]),
        (["--dropout", "1"], ["dropout is 1.0"]),
        (["--learning-rate", "0"], ["learning rate is 0.0"]), (["--clip", "nan"], ["clip is nan"]),
        (["--heads", "2"], ["2 heads", "has none"]), (["--attention", "luong"], ["only seq2seq has"]),
        (["--similarity", "cosine"], ["no similarity to choose"]),
        (["--optimizer", "sgd", "--weight-decay", "0.1"], ["only with adamw"]), (["--threads", "0"], ["--threads"]),
    ])
    func `refuses a wrong call, and says what is right`(wrong: [String], parts: [String]) throws {
        // Of an option that is named twice, the last counts.
        var call = arguments()
        if wrong.count == 2, let place = call.firstIndex(of: wrong[0]) { call.removeSubrange(place...place + 1) }
        try command.fail(call + wrong, status: 64, saying: parts)
        #expect(!FileManager.default.fileExists(atPath: output))
    }

    @Test func `refuses to begin without a corpus or a folder`() throws {
        try command.fail(["train", "--output", output], status: 64, saying: ["Name a corpus"])
        try command.fail(["train", text], status: 64, saying: ["--output"])
        try command.fail(["train", text, "--output", ""], status: 64, saying: ["empty"])
        try command.fail(
            ["train", text, "--output", output, "--minutes=-1"], status: 64, saying: ["--minutes is -1.0"])
    }

    @Test func `fails where the corpus is no good`() throws {
        func fail(_ corpus: String, _ more: [String] = [], saying parts: [String], input: [UInt8] = []) throws {
            try command.fail(arguments(corpus: corpus) + more, status: 1, saying: parts, input: input)
            #expect(!FileManager.default.fileExists(atPath: output))
        }
        try fail("\(command.folder)/absent.txt", saying: ["There is no '", "absent.txt"])
        try fail(try command.write("empty.txt", ""), saying: ["The corpus is empty"])
        try command.fail(arguments(corpus: "-"), status: 64, saying: ["standard input, which is empty"])
        try fail(try command.write("binary.txt", [0x7F, 0x45, 0x4C, 0x46, 0]), saying: ["is no text", "byte 4"])
        try fail(try command.write("short.txt", "abc"), saying: ["4 tokens", "context 9 needs 10", "--context"])
        try fail(text, ["--tokenizer", "bpe:9999"], saying: ["9999 are asked for", "Ask for at most"])
        try fail(
            try command.write("long.jsonl", #"{"source": "abcdefgh", "target": "abcdefgh"}"#),
            saying: ["Pair 1 takes 17 tokens", "--context 17"])
        try fail(try command.write("bad.jsonl", "{}\n"), saying: ["line 1", "'source'"])
    }

    @Test func `fails where it cannot write, or the loss is no number`() throws {
        let file = try command.write("file", "")
        try command.fail(arguments(output: file), status: 1, saying: ["'\(file)'", "it is a file"])
        let result = try command.run(
            arguments(steps: 40) + [
                "--optimizer", "sgd", "--learning-rate", "1e38", "--clip", "0", "--checkpoint-every", "1",
            ])
        #expect(result.status == 1 && result.output.isEmpty)
        for part in ["training went astray", "lower learning rate", "The checkpoint of step"] {
            #expect(result.error.contains(part), "\(result.error)")
        }
    }

    // MARK: - Stopped and resumed

    @Test func `resumes only what is there, as it was`() throws {
        #expect(try command.run(arguments()).status == 0)
        try command.fail(arguments(), status: 64, saying: ["holds a training run already", "--resume"])
        func differs(_ more: [String], saying parts: [String]) throws {
            var call = arguments() + ["--resume"]
            if let place = call.firstIndex(of: more[0]) { call.removeSubrange(place...place + 1) }
            let result = try command.run(call + more)
            #expect(result.status == 64)
            for part in parts + ["cannot be resumed with other settings"] {
                #expect(result.error.contains(part), "\(result.error)")
            }
        }
        try differs(["--model", "lstm"], saying: ["model: gru there, lstm asked for"])
        try differs(["--tokenizer", "bpe:300"], saying: ["tokenizer: characters there, bpe:300 asked for"])
        try differs(["--steps", "9"], saying: ["steps: 5 there, 9 asked for"])
        _ = try command.write("text.txt", sentences + "More.")
        try differs(["--seed", "1"], saying: ["corpus (fingerprint): "])
        _ = try command.write("text.txt", sentences)
        let before = try command.result(output)
        let again = try command.run("train", "--output", output, "--resume")
        #expect(again.status == 0 && again.output.hasPrefix("\(output): 5 steps, validation loss"))
        #expect(again.error.contains("Going on after step 5."))
        expectSame(try command.result(output), before, "resumed at the end")
        try FileManager.default.removeItem(atPath: text)
        #expect(try command.run("train", "--output", output, "--resume").status == 1)
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func `saves when it is interrupted, and says how to go on`(signal: Int32) throws {
        let call = arguments("lstm", steps: 300) + ["--checkpoint-every", "1000"]
        #expect(try command.run(call).status == 0)
        let stopped = "\(command.folder)/stopped"
        let (result, isKilled) = try command.run(
            arguments("lstm", steps: 300, output: stopped) + ["--checkpoint-every", "1000"], sending: signal
        ) {
            try FileManager.default.fileExists(atPath: "\(stopped)/metrics.jsonl") && !command.figures(stopped).isEmpty
        }
        #expect(!isKilled && result.status == 128 + signal && result.output.isEmpty)
        let message = try #require(result.error.split(separator: "\n").last)
        #expect(message.hasPrefix("Stopped after step "))
        #expect(message.hasSuffix(". Go on with: attend train --output \(stopped) --resume"))
        let step = try #require(Int(message.dropFirst(19).prefix { $0.isNumber }))
        #expect(try command.figures(stopped).last?.contains("\"step\":\(step)") == true)
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(stopped)/checkpoints")
        #expect(names == ["step-" + String(format: "%08d", step)])
        // What there is writes already.
        #expect(try command.run("generate", "--model", stopped, "The", "--count", "3").status == 0)
        let rest = try command.run("train", "--output", stopped, "--resume")
        #expect(rest.status == 0 && rest.error.contains("Going on after step \(step)."))
        expectSame(try command.result(stopped), try command.result(output), "interrupted")
    }

    @Test func `says how to go on with standard input`() throws {
        let (result, isKilled) = try command.run(
            arguments("rnn", steps: 100_000, corpus: "-"), input: Array(sentences.utf8), sending: SIGINT
        ) { FileManager.default.fileExists(atPath: "\(output)/metrics.jsonl") }
        #expect(!isKilled && result.status == 130)
        #expect(result.error.contains("Go on with: attend train - --output \(output) --resume\n"))
        try command.fail(
            ["train", "--output", output, "--resume"], status: 64,
            saying: ["the corpus is standard input, which is empty"])
    }

    /// A model on a corpus, and how often it is killed.
    struct KilledRun: Sendable, CustomTestStringConvertible {
        let model: String
        let killCount: Int
        var testDescription: String { model }
    }

    @Test(arguments: [KilledRun(model: "transformer", killCount: 20), KilledRun(model: "seq2seq", killCount: 6)])
    func `killed at random moments and resumed each time, ends in the same bytes`(example: KilledRun) throws {
        let corpus = example.model == "seq2seq" ? try command.write("pairs.jsonl", pairs) : text
        func call(_ output: String) -> [String] {
            arguments(example.model, steps: 40, corpus: corpus, output: output) + [
                "--checkpoint-every", "2", "--resume",
            ]
        }
        let began = ProcessInfo.processInfo.systemUptime
        #expect(try command.run(call(output)).status == 0)
        var duration = ProcessInfo.processInfo.systemUptime - began
        let expected = try command.result(output)

        var generator = SeededGenerator(seed: 20)
        var (kills, runs) = (0, 0)
        // A run that is done is compared, and another is begun, until there were enough kills.
        while kills < example.killCount {
            runs += 1
            try #require(runs < 10 * example.killCount)
            let killed = "\(command.folder)/killed-\(runs)"
            var isDone = false
            while !isDone {
                var isKilled = false
                let launched = ProcessInfo.processInfo.systemUptime
                if kills < example.killCount {
                    let moment = Double.random(in: 0...0.7, using: &generator) * duration
                    var result: Command.Result
                    (result, isKilled) = try command.run(call(killed), sending: SIGKILL) {
                        ProcessInfo.processInfo.systemUptime - launched >= moment
                    }
                    #expect(isKilled || result.status == 0, "\(result.error)")
                } else {
                    let result = try command.run(call(killed))
                    #expect(result.status == 0, "\(result.error)")
                }
                if isKilled {
                    kills += 1
                } else {
                    // The machine may have less to do than it had: then the moments lie closer together.
                    duration = min(duration, ProcessInfo.processInfo.systemUptime - launched)
                }
                isDone = !isKilled
            }
            expectSame(try command.result(killed), expected, "run \(runs), after \(kills) kills")
        }
    }
}

@Suite struct `What was trained` {
    private let command: Command

    init() throws { command = try Command() }

    /// Trains a model for some steps.
    private func train(_ model: String, _ more: [String] = [], steps: Int = 2, onPairs: Bool = false) throws -> String {
        let corpus = try onPairs ? command.write("pairs.jsonl", pairs) : command.write("text.txt", sentences)
        let output = "\(command.folder)/\(model)"
        let result = try command.run(
            ["train", corpus, "--output", output, "--model", model, "--context", "12", "--steps", "\(steps)"] + small
                + more)
        #expect(result.status == 0, "\(result.error)")
        return output
    }

    // MARK: - attend generate

    @Test func `writes the same with the same seed`() throws {
        let model = try train("gru")
        func text(_ more: String...) throws -> String {
            let result = try command.run(["generate", "--model", model, "The FBI", "--count", "40"] + more)
            #expect(result.status == 0 && result.error.isEmpty)
            #expect(result.output.hasPrefix("The FBI") && result.output.hasSuffix("\n"))
            return result.output
        }
        let first = try text("--temperature", "2")
        #expect(try text("--temperature", "2") == first)
        #expect(try text("--temperature", "2", "--threads", "3") == first)
        #expect(try (2...6).contains { try text("--temperature", "2", "--seed", "\($0)") != first })
        // The most likely asks for no random number.
        #expect(try text("--temperature", "0") == text("--temperature", "0", "--seed", "9"))
        #expect(try text("--temperature", "0") == text("--temperature", "3", "--top", "1"))
        #expect(try command.run("generate", "--model", model, "The FBI", "--count", "0").output == "The FBI\n")
        let piped = try command.run(
            "generate", "--model", model, "-", "--temperature", "2", "--count", "40", input: Array("The FBI\n".utf8))
        #expect(piped.output == first)
    }

    @Test func `stores weights, keys and values as it is told`() throws {
        let model = try train("transformer", ["--heads", "2"])
        func text(_ more: String...) throws -> String {
            let result = try command.run(["generate", "--model", model, "The", "--temperature", "2"] + more)
            #expect(result.status == 0, "\(result.error)")
            return result.output
        }
        let plain = try text()
        #expect(try text("--weights", "float32", "--cache", "float32") == plain)
        // Sampled at a high temperature, a text follows the last bits of the logits only rarely: these need not differ.
        for type in ["float16", "bfloat16"] { #expect(try text("--weights", type, "--cache", type).hasPrefix("The")) }
    }

    @Test func `writes the target of what it learned in pairs`() throws {
        for model in ["seq2seq", "transformer", "gru"] {
            let folder = try train(model, onPairs: true)
            let result = try command.run("generate", "--model", folder, "abc", "--temperature", "0", "--count", "5")
            #expect(result.status == 0, "\(result.error)")
            #expect(result.output.count <= 6 && result.output.hasSuffix("\n"))
        }
    }

    @Test func `learns by heart, and says so`() throws {
        let corpus = try command.write("song.txt", String(repeating: "abcd efgh.", count: 30))
        let output = "\(command.folder)/song"
        let result = try command.run(
            "train", corpus, "--output", output, "--model", "gru", "--width", "24", "--layers", "1", "--context", "10",
            "--batch", "4", "--steps", "60", "--learning-rate", "0.03")
        #expect(result.status == 0, "\(result.error)")
        let song = try command.run("generate", "--model", output, "abcd", "--temperature", "0", "--count", "26")
        #expect(song.output == "abcd efgh.abcd efgh.abcd efgh.\n")
    }

    @Test func `refuses what it cannot continue`() throws {
        let model = try train("transformer", ["--heads", "2"])
        func fail(_ more: String..., status: Int32 = 64, saying parts: [String]) throws {
            try command.fail(["generate", "--model", model] + more, status: status, saying: parts)
        }
        try fail("", saying: ["the text is empty"])
        try fail("The FBI is chasing", saying: ["has 18 tokens", "takes at most 12", "Shorten it"])
        try fail("a", "--count", "-1", saying: ["--count"])
        try fail("a", "--temperature", "-1", saying: ["--temperature"])
        try fail("a", "--temperature", "nan", saying: ["--temperature"])
        try fail("a", "--top", "-1", saying: ["--top"])
        try fail("a", "--cache", "int8", saying: ["--cache", "bfloat16"])
        try fail("a", "--weights", "half", saying: ["--weights", "bfloat16"])
        try command.fail(
            ["generate", "--model", "\(command.folder)/absent", "a"], status: 1, saying: ["There is no model"])
        // It writes until the positions end: 12, and one that need not be read.
        let result = try command.run("generate", "--model", model, "The FBI is c", "--count", "50")
        #expect(result.status == 0 && result.output.count <= 14)
        let recurrent = try train("lstm")
        #expect(try command.run("generate", "--model", recurrent, "The FBI is chasing", "--count", "5").status == 0)
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: "\(recurrent)/model.safetensors"))
        try command.fail(
            ["generate", "--model", recurrent, "a"], status: 1, saying: ["model.safetensors"])
    }

    // MARK: - attend explain

    private func explain(_ model: String, _ more: String...) throws -> JSONValue {
        let result = try command.run(["explain", "--model", model, "who is it", "--json"] + more)
        #expect(result.status == 0 && result.error.isEmpty, "\(result.error)")
        return try result.json()
    }

    private func figures(_ json: JSONValue, _ name: String) -> [Double?] {
        (json["words"]?.arrayValue ?? []).map { $0[name]?.doubleValue }
    }

    @Test(arguments: ["cnn", "tcn", "rnn", "lstm", "gru", "mingru"])
    func `without attention shows the effect of each word`(architecture: String) throws {
        let model = try train(architecture)
        let json = try explain(model)
        #expect(json["scope"]?.stringValue == "a model without attention")
        #expect(json["words"]?.arrayValue?.compactMap { $0["text"]?.stringValue } == ["who", "is", "it"])
        for name in ["attention", "attentionWithoutSink", "contribution"] {
            for word in json["words"]?.arrayValue ?? [] { #expect(word[name] == .null, "\(name)") }
        }
        let effects = figures(json, "effect").compactMap { $0 }
        #expect(effects.count == 3 && effects.allSatisfy { $0 >= 0 } && effects.contains { $0 > 0 })
        #expect(json["alignment"] == nil && json["steps"] == nil)
        #expect(json["nextWords"]?.arrayValue?.count == 5)
        let text = try command.run("explain", "--model", model, "who is it", "--target", "is")
        #expect(text.status == 0)
        for part in [
            "\(architecture): what the prediction after \"is\" (word 1) depends on, a model without attention",
            "share of the effect", "comes later", "Most likely after \"is\":",
        ] {
            #expect(text.output.contains(part), "\(text.output)")
        }
        #expect(figures(try explain(model, "--effect", "never"), "effect") == [nil, nil, nil])
        try command.fail(
            ["explain", "--model", model, "who is it", "--layer", "0"], status: 64, saying: ["no heads"])
        try command.fail(
            ["explain", "--model", model, "who is it", "--layer", "0", "--head", "0"], status: 64, saying: ["no heads"])
    }

    @Test func `shows what an LSTMN attends to`() throws {
        let model = try train("lstmn")
        let json = try explain(model)
        let attention = figures(json, "attention").compactMap { $0 }
        #expect(attention.count == 3 && abs(attention.reduce(0, +) - 1) < 1e-5)
        #expect(figures(json, "contribution") == [nil, nil, nil])
        #expect(figures(json, "effect").allSatisfy { $0 != nil })
        let text = try command.run("explain", "--model", model, "who is it")
        #expect(text.output.contains("attends to, attention to its own past"))
        try command.fail(
            ["explain", "--model", model, "who is it", "--layer", "0"], status: 64, saying: ["no heads"])
    }

    @Test(arguments: ["bahdanau", "luong", "none"])
    func `shows how an encoder–decoder aligns`(attention: String) throws {
        for onPairs in [true, false] {
            let folder = try train("seq2seq", ["--attention", attention], onPairs: onPairs)
            let words = onPairs ? "abc" : "who is it"
            let result = try command.run("explain", "--model", folder, words, "--json")
            #expect(result.status == 0, "\(result.error)")
            let json = try result.json()
            #expect(json["scope"]?.stringValue == "the whole source")
            #expect(figures(json, "effect").allSatisfy { ($0 ?? -1) >= 0 })
            if attention == "none" {
                #expect(json["alignment"] == nil)
                #expect(figures(json, "attention").allSatisfy { $0 == nil })
            } else {
                let rows = json["alignment"]?["weights"]?.arrayValue ?? []
                #expect(!rows.isEmpty && rows.count == json["alignment"]?["written"]?.arrayValue?.count)
                #expect(json["alignment"]?["read"]?.arrayValue?.count == words.count)
                for row in rows {
                    let sum = (row.arrayValue ?? []).compactMap(\.doubleValue).reduce(0, +)
                    #expect(abs(sum - 1) < 1e-5)
                }
                let shares = figures(json, "attention").compactMap { $0 }
                #expect(abs(shares.reduce(0, +) - 1) < 1e-5)
            }
            let text = try command.run("explain", "--model", folder, words).output
            #expect(text.contains("What each token written attends to") == (attention != "none"))
            try command.fail(
                ["explain", "--model", folder, words, "--target", "#0"], status: 64, saying: ["Leave the target out"])
            try FileManager.default.removeItem(atPath: folder)
        }
    }

    @Test func `shows a Transformer's heads, and refuses more than its positions`() throws {
        let model = try train("transformer", ["--heads", "2"])
        let json = try explain(model, "--layer", "0", "--head", "1")
        #expect(json["steps"]?["head"]?.integerValue == 1)
        for name in ["attention", "contribution"] {
            let shares = figures(json, name).compactMap { $0 }
            #expect(abs(shares.reduce(0, +) - 1) < 1e-4)
        }
        try command.fail(
            ["explain", "--model", model, "who is it that"], status: 64, saying: ["has 14 tokens", "at most 12"])
        try command.fail(
            ["explain", "--model", model, "wxyz"], status: 1, saying: ["vocabulary lacks characters"])
    }
}
