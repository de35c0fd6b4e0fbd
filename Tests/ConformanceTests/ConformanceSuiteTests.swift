import Attention
import Foundation
import ModelFiles
import Testing

/// The suite must not pass what it has not understood.
@Suite struct `The conformance suite` {
    @Test func `a case that agrees passes`() throws {
        let report = try report(on: CraftedCase())
        #expect(report.passed == ["Softmax": 1])
        #expect(report.problems.isEmpty)
    }

    @Test(
        arguments: [
            ("an attribute", CraftedCase(attributes: #"{"axis": 0, "temperature": 2.0}"#), "'temperature'"),
            ("an operator", CraftedCase(operatorName: "Softmux"), "'Softmux'"),
            ("an opset", CraftedCase(opset: "11"), "not 11"),
            ("an input", CraftedCase(inputs: #"["x", "y"]"#), "input.1"),
            ("an output", CraftedCase(outputs: #"["y", "z"]"#), "output.1"),
            ("an undeclared tensor", CraftedCase(outputs: #"[""]"#), "not those declared"),
            ("a wrong value", CraftedCase(expected: [0.5, 0.51]), "1 wrong of 2"),
            ("a value that is no number", CraftedCase(expected: [0.5, .nan]), "1 wrong of 2"),
            ("a wrong shape", CraftedCase(expected: [0.5]), "has the shape [2], expected [1]"),
        ])
    func `fails`(what: String, file: CraftedCase, message: String) throws {
        let report = try report(on: file)
        #expect(report.passedCount == 0)
        #expect(report.problems.count == 1)
        #expect(report.problems.first?.contains(message) == true, "\(report.problems)")
    }

    @Test func `a case of a model is counted and not run`() throws {
        try withTemporaryFolder { folder in
            try SafetensorsFile.write(tensors: [], metadata: [("text", "The FBI")], to: "\(folder)/prompt.safetensors")
            let report = try ConformanceFolder(path: folder).report()
            #expect(report.later == ["pretrained models": 1])
            #expect(report.passedCount == 0)
            #expect(report.problems.isEmpty)
        }
    }

    @Test func `a mask that PyTorch's cases are not known to have fails`() throws {
        try withTemporaryFolder { folder in
            try SafetensorsFile.write(
                tensors: [],
                metadata: [("module", "torch.nn.functional.scaled_dot_product_attention"), ("mask", "sideways")],
                to: "\(folder)/attention.safetensors")
            let problems = try ConformanceFolder(path: folder).report().problems
            #expect(problems.first?.contains("'sideways'") == true, "\(problems)")
        }
    }

    @Test func `a damaged file fails`() throws {
        try withTemporaryFolder { folder in
            try Data("not a safetensors file".utf8).write(to: URL(filePath: "\(folder)/softmax.safetensors"))
            let conformance = try ConformanceFolder(path: folder)
            #expect(conformance.casesToRun.count == 1)
            #expect(conformance.report().problems.count == 1)
        }
    }

    @Test func `a missing folder and an empty one fail`() throws {
        try withTemporaryFolder { folder in
            #expect(throws: ConformanceProblem.self) { try ConformanceFolder(path: folder) }
            #expect(throws: ConformanceProblem.self) { try ConformanceFolder(path: "\(folder)/missing") }
        }
    }

    @Test func `infinities and NaN are equal only to themselves`() {
        let none = Tolerance(relative: 1, absolute: 1)
        func agrees(_ actual: Float, _ expected: Float) -> Bool {
            difference(of: Tensor([actual], shape: [1]), from: Tensor([expected], shape: [1]), within: none)
                == nil
        }
        #expect(agrees(.infinity, .infinity))
        #expect(agrees(.nan, .nan))
        #expect(!agrees(.infinity, -.infinity))
        #expect(!agrees(1, .infinity))
        #expect(!agrees(.infinity, 1))
        #expect(!agrees(.nan, 1))
        #expect(!agrees(1, .nan))
    }

    private func report(on file: CraftedCase) throws -> ConformanceReport {
        try withTemporaryFolder { folder in
            try file.write(to: "\(folder)/softmax.safetensors")
            return try ConformanceFolder(path: folder).report()
        }
    }
}

/// A case of the softmax of two equal numbers, right unless told otherwise.
struct CraftedCase {
    var operatorName = "Softmax"
    var opset = "13"
    var attributes = #"{"axis": 0}"#
    var inputs = #"["x"]"#
    var outputs = #"["y"]"#
    var expected: [Float] = [0.5, 0.5]

    func write(to path: String) throws {
        func tensor(_ name: String, _ values: [Float]) -> SafetensorsFile.TensorToWrite {
            SafetensorsFile.TensorToWrite(
                name: name, elementType: .float32, shape: [values.count],
                bytes: values.flatMap { withUnsafeBytes(of: $0.bitPattern.littleEndian, Array.init) })
        }
        try SafetensorsFile.write(
            tensors: [tensor("input.0", [3, 3]), tensor("output.0", expected)],
            metadata: [
                ("operator", operatorName), ("opset", opset), ("attributes", attributes), ("inputs", inputs),
                ("outputs", outputs), ("rtol", "0.001"), ("atol", "1e-07"), ("shape:input.0", "[2]"),
                ("shape:output.0", "[\(expected.count)]"),
            ], to: path)
    }
}

/// Calls `body` with the path of a new folder, which is removed afterwards.
private func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "conformance-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder.path(percentEncoded: false))
}
