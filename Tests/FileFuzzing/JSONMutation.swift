package import ModelFiles

/// Changes one value of a JSON text, which stays JSON.
package enum JSONMutation {
    package static func mutated(_ bytes: [UInt8], _ random: inout FuzzRandom) -> [UInt8]? {
        guard let value = try? JSONValue(parsing: bytes) else { return nil }
        return try? mutated(value, &random).serialized()
    }

    package static func mutated(_ value: JSONValue, _ random: inout FuzzRandom) -> JSONValue {
        let count = value.valueCount
        var donor = value
        var donorIndex = random.index(count)
        donor = value.part(at: &donorIndex) ?? value
        var index = random.index(count)
        return value.replacing(at: &index) { other(than: $0, donor: donor, &random) } ?? .null
    }

    /// What stands in the place of a value; `nil` takes it out.
    private static func other(
        than value: JSONValue, donor: JSONValue, _ random: inout FuzzRandom
    ) -> JSONValue? {
        switch random.index(8) {
        case 0: return nil
        case 1: return donor
        case 2: return anything(&random)
        default: break
        }
        switch value {
        case .null, .boolean: return random.oneIn(2) ? .boolean(random.oneIn(2)) : anything(&random)
        case .integer(let number):
            return random.oneIn(2)
                ? .integer(number &+ Int64(random.index(5)) &- 2)
                : .integer(Int64(truncatingIfNeeded: random.edge()))
        case .number(let number):
            return .number(random.pick([-number, number * 2, number / 3, 0, 1e-300, 1e300, .leastNonzeroMagnitude]))
        case .string(let text):
            let changed = TextMutation.mutated(Array(text.utf8), &random) ?? []
            return .string(String(decoding: changed, as: UTF8.self))
        case .array(var elements):
            guard !elements.isEmpty else { return .array([anything(&random)]) }
            let place = random.index(elements.count)
            switch random.index(4) {
            case 0: elements.insert(elements[place], at: random.index(elements.count + 1))
            case 1: elements.swapAt(place, random.index(elements.count))
            case 2: elements.insert(donor, at: place)
            default: elements.remove(at: place)
            }
            return .array(elements)
        case .object(let object):
            let chosen = random.index(object.count + 1)
            var result = JSONObject()
            for (index, member) in object.members.enumerated() {
                guard index == chosen else {
                    result.append(member.key, member.value)
                    continue
                }
                let key = TextMutation.mutated(Array(member.key.utf8), &random) ?? []
                result.append(String(decoding: key, as: UTF8.self), member.value)
            }
            if chosen == object.count { result.append(TextMutation.snippet(&random), donor) }
            return .object(result)
        }
    }

    private static func anything(_ random: inout FuzzRandom) -> JSONValue {
        switch random.index(8) {
        case 0: .null
        case 1: .boolean(random.oneIn(2))
        case 2: .integer(Int64(truncatingIfNeeded: random.edge()))
        case 3: .number(Double(bitPattern: random.next()).isFinite ? 0.5 : -1e308)
        case 4: .string("")
        case 5: .string(TextMutation.snippet(&random))
        case 6: .array([])
        default: .object(JSONObject())
        }
    }
}

extension JSONValue {
    /// The values in a value, itself included.
    fileprivate var valueCount: Int {
        switch self {
        case .array(let elements): elements.reduce(1) { $0 + $1.valueCount }
        case .object(let object): object.members.reduce(1) { $0 + $1.value.valueCount }
        default: 1
        }
    }

    /// The value of a number, counted down from the outermost.
    fileprivate func part(at index: inout Int) -> JSONValue? {
        if index == 0 { return self }
        index -= 1
        switch self {
        case .array(let elements):
            for element in elements { if let part = element.part(at: &index) { return part } }
        case .object(let object):
            for member in object.members { if let part = member.value.part(at: &index) { return part } }
        default: break
        }
        return nil
    }

    /// The value with that of a number replaced, or taken out of what it is in.
    fileprivate func replacing(at index: inout Int, _ change: (JSONValue) -> JSONValue?) -> JSONValue? {
        defer { index -= 1 }
        if index == 0 { return change(self) }
        // Behind the value that was replaced, nothing is counted any more.
        guard index > 0 else { return self }
        switch self {
        case .array(let elements):
            var inner = index - 1
            let result = elements.compactMap { $0.replacing(at: &inner, change) }
            index = inner + 1
            return .array(result)
        case .object(let object):
            var inner = index - 1
            var result = JSONObject()
            for member in object.members {
                if let value = member.value.replacing(at: &inner, change) { result.append(member.key, value) }
            }
            index = inner + 1
            return .object(result)
        default:
            return self
        }
    }
}
