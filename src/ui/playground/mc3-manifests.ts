/** The manifests of the lesson: those of demo/, with the Service that the tutorial creates. */

export const MC3 = `# nginx in front of a web application, in one pod.
apiVersion: v1
kind: ConfigMap
metadata:
  name: mc3-nginx-conf
data:
  nginx.conf: |-
    upstream webapp {
        server 127.0.0.1:5000;
    }
    server {
        listen 80;
        location / {
            proxy_pass http://webapp;
        }
    }
---
apiVersion: v1
kind: Pod
metadata:
  name: mc3
  labels:
    app: mc3
spec:
  nodeName: n1
  containers:
    - name: webapp
      image: training/webapp
    - name: nginx
      image: nginx:alpine
      ports:
        - containerPort: 80
---
apiVersion: v1
kind: Pod
metadata:
  name: client
  labels:
    app: client
spec:
  nodeName: n2
  containers:
    - name: shell
      image: process
`;

export const MC3_SERVICE = `---
apiVersion: v1
kind: Service
metadata:
  name: mc3
spec:
  type: NodePort
  selector:
    app: mc3
  ports:
    - port: 80
      nodePort: 31418
`;
