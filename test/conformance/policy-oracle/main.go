// Verdicts of cyclonus' engine (github.com/mattfenwick/cyclonus), as JSON lines, for test/conformance/policy-oracle.test.ts.
//
//	oracle cases   every step of every test case of its generator, with the verdict of each connection between its pods,
//	               and between them and an address outside
//	oracle judge   reads situations from stdin, one a line, and prints the verdicts of their connections
//
// To build it outside of the repository: scripts/install-clients.sh
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"github.com/mattfenwick/cyclonus/pkg/connectivity/probe"
	"github.com/mattfenwick/cyclonus/pkg/generator"
	"github.com/mattfenwick/cyclonus/pkg/matcher"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
)

type port struct {
	Name     string        `json:"name"`
	Protocol core.Protocol `json:"protocol"`
	Port     int           `json:"port"`
}

type pod struct {
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
	IP        string            `json:"ip"`
	Ports     []port            `json:"ports"`
}

type traffic struct {
	From     string        `json:"from"`
	To       string        `json:"to"`
	Protocol core.Protocol `json:"protocol"`
	Port     int           `json:"port"`
	// egress, ingress or allowed
	Verdict string `json:"verdict"`
}

type situation struct {
	Name       string                       `json:"name"`
	Namespaces map[string]map[string]string `json:"namespaces"`
	Pods       []pod                        `json:"pods"`
	Policies   []*networking.NetworkPolicy  `json:"policies"`
	Traffic    []traffic                    `json:"traffic"`
}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
	return v
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "cases":
		writeCases(encoder)
	case len(os.Args) == 2 && os.Args[1] == "judge":
		input := json.NewDecoder(bufio.NewReader(os.Stdin))
		for input.More() {
			var one situation
			must(0, input.Decode(&one))
			one.judge()
			must(0, encoder.Encode(one.Traffic))
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: oracle cases|judge")
		os.Exit(2)
	}
}

func (s *situation) judge() {
	policy := matcher.BuildNetworkPolicies(false, s.Policies)
	byIP := map[string]*pod{}
	for i := range s.Pods {
		byIP[s.Pods[i].IP] = &s.Pods[i]
	}
	for i := range s.Traffic {
		t := &s.Traffic[i]
		name := ""
		if to := byIP[t.To]; to != nil {
			for _, p := range to.Ports {
				if p.Port == t.Port && p.Protocol == t.Protocol {
					name = p.Name
				}
			}
		}
		result := policy.IsTrafficAllowed(&matcher.Traffic{
			Source:           s.peer(t.From, byIP),
			Destination:      s.peer(t.To, byIP),
			ResolvedPort:     t.Port,
			ResolvedPortName: name,
			Protocol:         t.Protocol,
		})
		switch {
		case !result.Egress.IsAllowed():
			t.Verdict = "egress"
		case !result.Ingress.IsAllowed():
			t.Verdict = "ingress"
		default:
			t.Verdict = "allowed"
		}
	}
}

func (s *situation) peer(ip string, byIP map[string]*pod) *matcher.TrafficPeer {
	found := byIP[ip]
	if found == nil {
		return &matcher.TrafficPeer{IP: ip}
	}
	return &matcher.TrafficPeer{IP: ip, Internal: &matcher.InternalPeer{
		PodLabels:       found.Labels,
		Namespace:       found.Namespace,
		NamespaceLabels: s.Namespaces[found.Namespace],
	}}
}

const outside = "203.0.113.9"

var protocols = []core.Protocol{core.ProtocolTCP, core.ProtocolUDP, core.ProtocolSCTP}

func writeCases(encoder *json.Encoder) {
	names := []string{"x", "y", "z"}
	start := &probe.Resources{Namespaces: map[string]map[string]string{}}
	for _, namespace := range names {
		start.Namespaces[namespace] = map[string]string{"ns": namespace, "kubernetes.io/metadata.name": namespace}
		for _, name := range []string{"a", "b", "c"} {
			made := probe.NewDefaultPod(namespace, name, []int{80, 81}, protocols, false, "")
			made.IP = fmt.Sprintf("10.244.1.%d", 2+len(start.Pods))
			start.Pods = append(start.Pods, made)
		}
	}
	last := start.Pods[len(start.Pods)-1]
	cases := generator.NewTestCaseGenerator(true, last.IP, names, nil, nil).GenerateTestCases()
	for i, one := range cases {
		resources := start
		var policies []*networking.NetworkPolicy
		for j, step := range one.Steps {
			for _, action := range step.Actions {
				resources, policies = after(action, resources, policies)
			}
			s := situation{
				Name:       fmt.Sprintf("case %d, step %d: %s", i+1, j+1, one.Description),
				Namespaces: resources.Namespaces,
				Policies:   policies,
			}
			for _, p := range resources.Pods {
				made := pod{Namespace: p.Namespace, Labels: p.Labels, IP: p.IP}
				for _, c := range p.Containers {
					made.Ports = append(made.Ports, port{c.PortName, c.Protocol, c.Port})
				}
				s.Pods = append(s.Pods, made)
			}
			s.addAllTraffic()
			s.judge()
			must(0, encoder.Encode(s))
		}
	}
}

// Every pair of addresses, to the ports that the pods serve and to one that they do not.
func (s *situation) addAllTraffic() {
	ends := []string{outside}
	for _, p := range s.Pods {
		ends = append(ends, p.IP)
	}
	sort.Strings(ends)
	for _, from := range ends {
		for _, to := range ends {
			if from == outside && to == outside {
				continue
			}
			for _, protocol := range protocols {
				for _, number := range []int{53, 80, 81, 82} {
					s.Traffic = append(s.Traffic, traffic{From: from, To: to, Protocol: protocol, Port: number})
				}
			}
		}
	}
}

// What an action of a test case leaves: the pods and namespaces, and the policies.
func after(a *generator.Action, r *probe.Resources, policies []*networking.NetworkPolicy) (*probe.Resources, []*networking.NetworkPolicy) {
	switch {
	case a.CreatePolicy != nil:
		return r, append(without(policies, "", ""), a.CreatePolicy.Policy)
	case a.UpdatePolicy != nil:
		updated := a.UpdatePolicy.Policy
		return r, append(without(policies, updated.Namespace, updated.Name), updated)
	case a.DeletePolicy != nil:
		return r, without(policies, a.DeletePolicy.Namespace, a.DeletePolicy.Name)
	case a.CreateNamespace != nil:
		return must(r.CreateNamespace(a.CreateNamespace.Namespace, a.CreateNamespace.Labels)), policies
	case a.SetNamespaceLabels != nil:
		return must(r.UpdateNamespaceLabels(a.SetNamespaceLabels.Namespace, a.SetNamespaceLabels.Labels)), policies
	case a.DeleteNamespace != nil:
		return must(r.DeleteNamespace(a.DeleteNamespace.Namespace)), policies
	case a.CreatePod != nil:
		made := must(r.CreatePod(a.CreatePod.Namespace, a.CreatePod.Pod, a.CreatePod.Labels))
		made.Pods[len(made.Pods)-1].IP = fmt.Sprintf("10.244.1.%d", 100+len(made.Pods))
		return made, policies
	case a.SetPodLabels != nil:
		return must(r.SetPodLabels(a.SetPodLabels.Namespace, a.SetPodLabels.Pod, a.SetPodLabels.Labels)), policies
	case a.DeletePod != nil:
		return must(r.DeletePod(a.DeletePod.Namespace, a.DeletePod.Pod)), policies
	}
	// Reading policies changes nothing.
	return r, policies
}

func without(policies []*networking.NetworkPolicy, namespace, name string) []*networking.NetworkPolicy {
	var rest []*networking.NetworkPolicy
	for _, one := range policies {
		if one.Namespace != namespace || one.Name != name {
			rest = append(rest, one)
		}
	}
	return rest
}
