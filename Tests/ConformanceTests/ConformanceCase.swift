import Attention
import Foundation
import ModelFiles
import Testing

/// A file of reference results.
struct ConformanceCase: Sendable, CustomTestStringConvertible {
    /// The path within the folder.
    let name: String
    let path: String

    var testDescription: String { name }

    /// What the file is about, by its metadata.
    enum Subject: Sendable, Equatable {
        /// An ONNX operator, or a module, function or optimizer of PyTorch.
        case operation(String)
        /// A subject that other tests run.
        case later(String)
    }

    /// Returns what the file is about.
    ///
    /// - Throws: When the file cannot be read or nobody has heard of its subject.
    func subject() throws -> Subject {
        let file = try SafetensorsFile(path: path)
        let subject = ["operator", "module", "optimizer"].compactMap(file.metadataValue).first
        guard let subject else {
            // Models' results, which tests of the models read, have the text that went in.
            if file.metadataValue("text") != nil { return .later("pretrained models") }
            throw ConformanceProblem(
                "The metadata names neither an operator, a module, an optimizer nor a text.")
        }
        if ONNXOperator.all[subject] != nil || pyTorchSubjects[subject] != nil { return .operation(subject) }
        throw ConformanceProblem("Nothing is known of '\(subject)'.")
    }

    /// Runs the case and returns what is wrong: nothing if it passes.
    func problems() -> [String] {
        do {
            let file = try SafetensorsFile(path: path)
            switch try subject() {
            case .later(let subject): return ["\(subject) is run by other tests."]
            case .operation(let subject):
                return try pyTorchSubjects[subject]?(file) ?? ONNXNode(file).problems()
            }
        } catch {
            return ["\(error)"]
        }
    }
}

/// A folder of reference results.
struct ConformanceFolder: Sendable {
    /// Every safetensors file in the folder and those below it, in order.
    let cases: [ConformanceCase]

    /// The folder that `ATTENTION_CONFORMANCE` names, else the fixtures of the repository.
    static let path =
        ProcessInfo.processInfo.environment["ATTENTION_CONFORMANCE"]
        ?? URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/conformance").path(percentEncoded: false)

    /// Finds the files.
    ///
    /// - Throws: When there is no such folder or no such file in it.
    init(path: String) throws {
        let names = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
        cases = names.filter { $0.hasSuffix(".safetensors") }.sorted().map {
            ConformanceCase(name: $0, path: "\(path)/\($0)")
        }
        guard !cases.isEmpty else {
            throw ConformanceProblem(
                "There is no safetensors file in '\(path)'. Set ATTENTION_CONFORMANCE to a folder of them.")
        }
    }

    /// The cases to run: all but those that other tests run.
    ///
    /// A file that nobody understands is among them, and fails.
    var casesToRun: [ConformanceCase] {
        cases.filter { file in
            guard case .later = try? file.subject() else { return true }
            return false
        }
    }

    /// Runs every case.
    func report() -> ConformanceReport {
        var report = ConformanceReport()
        for file in cases {
            switch try? file.subject() {
            case .later(let subject): report.later[subject, default: 0] += 1
            case .operation(let subject):
                let problems = file.problems()
                if problems.isEmpty { report.passed[subject, default: 0] += 1 }
                report.problems += problems.map { "\(file.name): \($0)" }
            case nil: report.problems += file.problems().map { "\(file.name): \($0)" }
            }
        }
        return report
    }
}

/// What came of a folder's cases.
struct ConformanceReport: CustomStringConvertible {
    /// How many cases of each subject pass.
    var passed: [String: Int] = [:]
    /// How many of each subject other tests run.
    var later: [String: Int] = [:]
    /// What is wrong, with the file's name.
    var problems: [String] = []

    var passedCount: Int { passed.values.reduce(0, +) }
    var laterCount: Int { later.values.reduce(0, +) }

    var description: String {
        func list(_ counts: [String: Int]) -> String {
            counts.isEmpty
                ? "none"
                : counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        }
        return
            "passed: \(list(passed)); run by other tests: \(list(later)); problems: \(problems.count)"
    }
}

/// Why a case does not pass, or cannot be run.
struct ConformanceProblem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
