import ArgumentParser
import Foundation
import PretrainedModels

/// `attend models`: which models are on this machine, what they are, and whether they are whole.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "Lists the models on this machine, describes one, and checks that one is whole.",
        discussion: """
            Looked through are this package's cache and that of Hugging Face's Python packages:
              attend models list
              attend models info smollm2 --tensors
              attend models verify sentence-transformers/all-MiniLM-L6-v2
            """,
        subcommands: [List.self, Info.self, Verify.self], defaultSubcommand: List.self)

    /// What is told of a model.
    struct Summary: Encodable {
        let name: String
        let path: String
        let family: String?
        let purpose: StoredModel.Purpose?
        let parameterCount: Int?
        let byteCount: Int?
        let license: String?
        /// Why it cannot be used; `nil` where it can.
        let problem: String?
        var tensors: [StoredModel.StoredTensor]?

        init(name: String, _ model: StoredModel) {
            self.name = name
            path = model.path
            family = model.family
            purpose = model.purpose
            parameterCount = model.parameterCount
            byteCount = model.byteCount
            license = model.license
            problem = model.problem()?.description
        }

        /// What is told of a model that cannot even be described.
        init(name: String, path: String, problem: PretrainedModelError) {
            self.name = name
            self.path = path
            (family, purpose, parameterCount, byteCount, license) = (nil, nil, nil, nil, nil)
            self.problem = problem.description
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists every model in the caches, the broken ones too.")

        @Flag(help: "Print one JSON array.")
        var json = false

        func run() throws {
            try reportingFailures {
                let locator = ModelLocator()
                let models = locator.models().map { name, path in
                    let path = Self.resolved(path, locator)
                    do throws(PretrainedModelError) {
                        return Summary(name: name, try StoredModel(path: path))
                    } catch {
                        return Summary(name: name, path: path, problem: error)
                    }
                }
                if json { return try writeJSON(models, isPretty: true) }
                if models.isEmpty {
                    StandardError.write(
                        "attend: no model in '\(locator.modelsFolder)' or '\(locator.huggingFace.folder)'. Fetch SmolLM2 "
                            + "and MiniLM, from this package's folder, with:\n  \(ModelLocator.fetchCommand)\n")
                }
                let width = models.map(\.name.count).max() ?? 0
                for model in models {
                    let name = model.name.padding(toLength: width, withPad: " ", startingAt: 0)
                    if let problem = model.problem {
                        try writeOutput("\(name)  cannot be used: \(problem.split(separator: "\n").first ?? "")\n")
                    } else {
                        try writeOutput(
                            "\(name)  \(model.purpose?.rawValue ?? ""), \(model.family ?? ""), "
                                + "\(Self.millions(model.parameterCount)) M parameters, "
                                + "\(Self.mebibytes(model.byteCount)) MiB\n")
                    }
                }
            }
        }

        /// A folder with one file is that file; what is ambiguous stays, and is told.
        private static func resolved(_ path: String, _ locator: ModelLocator) -> String {
            (try? locator.path(of: path)) ?? path
        }

        static func millions(_ count: Int?) -> String { String(format: "%.1f", Double(count ?? 0) / 1e6) }
        static func mebibytes(_ count: Int?) -> String { String(format: "%.1f", Double(count ?? 0) / 0x1p20) }
    }

    struct Info: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Describes a model by the headers of its files.")

        @Argument(help: "A file, a folder, or a name, as for --model.")
        var name: String

        @Flag(help: "List the tensors as well.")
        var tensors = false

        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reportingFailures {
                let model = try StoredModel(path: try ModelLocator().path(of: name))
                var summary = Summary(name: name, model)
                if tensors { summary.tensors = model.tensors }
                if json { return try writeJSON(summary, isPretty: true) }
                let lines = [
                    ("path", model.path), ("family", model.family), ("purpose", model.purpose.rawValue),
                    ("parameters", "\(model.parameterCount)"), ("bytes", "\(model.byteCount)"),
                    ("licence", model.license ?? "not said"),
                    ("can be used", summary.problem.map { "no: \($0)" } ?? "yes"),
                ]
                for (key, value) in lines {
                    try writeOutput(key.padding(toLength: 12, withPad: " ", startingAt: 0) + value + "\n")
                }
                for tensor in summary.tensors ?? [] {
                    try writeOutput("\(tensor.name)  \(tensor.type) \(tensor.shape)\n")
                }
            }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Reads all of a model, and says what is wrong with it.",
            discussion: """
                Checked are every file's format, that each tensor is there, has its shape and is
                used, that every weight is a finite number, and where Hugging Face's cache names
                a file's hash, that it is the file's.
                """)

        @Argument(help: "A file, a folder, or a name, as for --model.")
        var name: String

        func run() throws {
            try reportingFailures {
                let path = try ModelLocator().path(of: name)
                // Whoever checks a file has reason to doubt it: it is read.
                let model = try StoredModel(path: path, mapped: false)
                if let problem = model.problem(mapped: false) { throw problem }
                var progress = ProgressLine()
                let broken = model.tensorsWithoutNumbers { share in
                    progress.show(share: share, text: "reading \(model.tensors.count) tensors")
                }
                progress.close()
                var findings = broken.map {
                    "the tensor '\($0.name)' has \($0.count) weights that are no finite numbers"
                }
                var hashes = 0
                for (file, expected) in model.expectedHashes {
                    guard let found = try ContentHashing.hash(of: file, like: expected) else {
                        StandardError.write(
                            "attend: the hash of '\(file)' was not checked: \(ContentHashing.program(for: expected)) "
                                + "is not installed.\n")
                        continue
                    }
                    hashes += 1
                    if found != expected.description {
                        findings.append("'\(file)' has the hash \(found), and should have \(expected)")
                    }
                }
                guard findings.isEmpty else {
                    throw CommandFailure.failure(
                        "'\(path)' is damaged: \(findings.joined(separator: "; ")). Fetch it again.")
                }
                try writeOutput(
                    "\(name) is whole: \(model.tensors.count) tensors, \(model.parameterCount) finite numbers"
                        + (hashes > 0 ? ", \(hashes) hashes as they should be" : "") + ".\n")
            }
        }
    }
}
